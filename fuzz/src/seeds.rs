//! Writes the seed corpus: `cargo run --manifest-path fuzz/Cargo.toml --bin seeds`.
//!
//! Small valid inputs from which the fuzzer starts, made by the builders that the tests use. A
//! seed that is there stays: the signed message belongs to the keyring beside it.

use std::{fs, path::Path};

use sampan_debian_archive::{
    compression::Compression,
    testing::{DebBuilder, Key, Mirror, sign_cleartext, tar_header},
};

const RELEASE: &str = "Suite: stable\nCodename: sailor\nDate: Sat, 21 Nov 2026 09:15:44 UTC\n\
    Valid-Until: Sat, 28 Nov 2026 09:15:44 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64\n\
    Components: main\nSHA256:\n \
    0000000000000000000000000000000000000000000000000000000000000000 1 main/binary-amd64/Packages\n";

fn main() -> std::io::Result<()> {
    let package = |kind| {
        DebBuilder::new("hello", "1.0")
            .compression(kind)
            .field("Depends", "a (>= 1) | b, c:any")
            .control_file("postinst", "#!/bin/sh\n", 0o755)
            .file("usr/bin/hello", "hello\n", 0o4755)
            .symlink("usr/bin/hi", "hello")
            .hard_link("usr/bin/ho", "usr/bin/hello")
    };
    for (name, kind) in [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("xz", Compression::Xz),
        ("zstd", Compression::Zstd),
    ] {
        seed("deb", name, package(kind).build())?;
    }
    seed("tar", "plain", tar())?;
    seed(
        "control",
        "stanzas",
        "Package: a\nDescription: x\n y\n .\n z\n\nPackage: b\nTag:\n x\n",
    )?;
    let mirror = Mirror::new()
        .compressions(&[Compression::None])
        .package(package(Compression::Xz))
        .package(DebBuilder::new("a", "2:1-1").field("Provides", "c (= 3), d"))
        .package(DebBuilder::new("c", "1~rc").field("Conflicts", "b (<< 2)"))
        .build();
    for (path, bytes) in &mirror.files {
        if path.ends_with("stable/main/binary-amd64/Packages") {
            seed("packages", "list", bytes)?;
        }
    }
    seed("release", "release", RELEASE)?;
    if !Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("keyring.gpg")
        .exists()
    {
        let key = Key::generate_at(1_600_000_000).signs_at(1_690_000_000);
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::write(here.join("keyring.gpg"), key.public())?;
        seed("inrelease", "signed", sign_cleartext(RELEASE, &[key]))?;
    }
    seed("version", "versions", "1:2.36-9+deb12u10\n2.36~rc1-1\n0\n")?;
    seed("version", "date", "Sat, 21 Nov 2026 09:15:44 UTC")?;
    seed(
        "sources",
        "line",
        "deb [arch=amd64] http://m.invalid/debian sid main # x\n",
    )?;
    seed(
        "sources",
        "deb822",
        "Types: deb\nEnabled: yes\nURIs: http://m.invalid/debian\nSuites: a\n\n",
    )?;
    seed(
        "config",
        "config",
        "# x\nlxc.uts.name = \"a\"\nlxc.net.0.type = veth\nlxc.network.type = empty\n\
         lxc.idmap = u 0 100000 65536\nlxc.mount.entry = proc proc proc ro,create=dir 0 0\n\
         lxc.cgroup2.memory.max = 1G\nlxc.cap.drop = sys_admin\nlxc.prlimit.nofile = 1:2\n",
    )?;
    seed(
        "config",
        "legacy",
        "lxc.utsname = a\nlxc.network.type = veth\nlxc.network.ipv4 = 10.0.0.2/24\nlxc.tty =\n\
         lxc.cap.drop = mknod\nlxc.cap.drop =\nfoo = bar\nlxc.hook.start = '/bin/x y'\r\n",
    )?;
    seed(
        "fstab",
        "lines",
        "# x\nproc proc proc nodev,noexec,nosuid 0 0\n/a\\040b srv/x none rbind,ro,rslave,create=dir\n\
         dev/null proc/kcore none bind,relative,optional\n/d e none bind,idmap=container,create=file\n\
         tmpfs /srv/rootfs/run tmpfs size=1m,strictatime,sync\n",
    )?;
    for (name, question) in [
        ("host", &b"\x03WEB\x02eu\x06sampan\0\0\x01\0\x01"[..]),
        ("nobody", b"\x01x\x06sampan\0\0\x1c\0\x01"),
        (
            "reverse",
            b"\x019\x010\x019\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01",
        ),
    ] {
        let mut query = b"ab\x01\0\0\x01\0\0\0\0\0\x01".to_vec();
        query.extend(question);
        query.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
        seed("names", name, query)?;
    }
    for (name, options) in [
        ("discover", &b"\x35\x01\x01\x3d\x03abc"[..]),
        (
            "request",
            b"\x35\x01\x03\x32\x04\x0a\x09\0\x09\x36\x04\x0a\x09\0\x01",
        ),
        ("inform", b"\x35\x01\x08"),
    ] {
        seed("dhcp", name, dhcp(options))?;
    }
    seed(
        "options",
        "words",
        "text=a\non=yes\nlist=a,b\nmirror=http://m.invalid/debian\none=b\n",
    )
}

/// A message of the guest that the target knows.
fn dhcp(options: &[u8]) -> Vec<u8> {
    let mut message = b"\x01\x01\x06\0abcd\0\0\x80\0\x0a\x09\0\x09".to_vec();
    message.resize(28, 0);
    message.extend([2, 0, 0, 0, 0, 9]);
    message.resize(236, 0);
    message.extend([99, 130, 83, 99]);
    message.extend(options);
    message.push(255);
    message
}

/// Every sort of entry, by hand.
fn tar() -> Vec<u8> {
    let mut archive = tar_header("./etc/", tar::EntryType::Directory, 0);
    archive.extend(tar_header("./etc/p", tar::EntryType::Regular, 3));
    archive.extend(b"abc".iter().chain(&[0; 509]));
    archive.extend(tar_header("././@LongLink", tar::EntryType::GNULongName, 9));
    archive.extend(b"./etc/qr\0".iter().chain(&[0; 503]));
    archive.extend(tar_header("./etc/q", tar::EntryType::Regular, 0));
    archive.extend(tar_header("./pipe", tar::EntryType::Fifo, 0));
    archive.extend([0; 1024]);
    archive
}

fn seed(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = here.join("corpus").join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), bytes)
}
