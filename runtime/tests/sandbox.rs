//! What code in the sandbox can and cannot do. Needs root, and `busybox-static` for a rootfs.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sampan_runtime::sandbox::{Sandbox, SandboxProcess};
use sampan_runtime::{Ended, IdRange};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs a shell script in a sandbox that also holds busybox at /bb.
fn script(script: &str, change: impl FnOnce(&mut Sandbox)) -> (Ended, String) {
    sandboxed("/bin/sh", &["-c", script], change)
}

fn sandboxed(
    program: &str,
    arguments: &[&str],
    change: impl FnOnce(&mut Sandbox),
) -> (Ended, String) {
    let (mut process, read) = spawn(program, arguments, change);
    let ended = process.wait_timeout(LIMIT).unwrap().expect("ends in time");
    let mut output = String::new();
    fs::File::from(read).read_to_string(&mut output).unwrap();
    (ended, output)
}

fn spawn(
    program: &str,
    arguments: &[&str],
    change: impl FnOnce(&mut Sandbox),
) -> (SandboxProcess, OwnedFd) {
    assert!(
        Path::new("/bin/busybox").exists(),
        "these tests need Debian's busybox-static: apt-get install busybox-static"
    );
    let (read, write) = std::io::pipe().unwrap();
    let mut sandbox = Sandbox::new(program, write.into(), IdRange::random_for_build());
    sandbox.arguments = arguments.iter().map(Into::into).collect();
    sandbox.environment = vec![("PATH".into(), "/bb".into())];
    sandbox.read_only = vec![("/bin/busybox".into(), "/bb/busybox".into())];
    change(&mut sandbox);
    (sandbox.spawn().unwrap(), read.into())
}

fn rootfs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    // Not fs::copy: its descriptor could be open in a child that another test starts at this
    // moment, and what is open for writing cannot be executed.
    let copied = std::process::Command::new("cp")
        .arg("/bin/busybox")
        .arg(dir.path().join("bin"))
        .status()
        .unwrap();
    assert!(copied.success());
    for applet in ["sh", "cat", "sleep", "wc", "ls", "id", "echo", "touch"] {
        symlink("busybox", dir.path().join("bin").join(applet)).unwrap();
    }
    dir
}

fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

#[test]
fn output_exit_status_and_environment_pass() {
    let (ended, output) = script("echo hi $A; echo err >&2; exit 7", |s| {
        s.environment.push(("A".into(), "there".into()));
    });
    assert_eq!(ended, Ended::Exited(7));
    assert_eq!(output, "hi there\nerr\n");
}

#[test]
fn the_view_holds_nothing_of_the_host_but_libraries() {
    let (_, output) = script(
        "busybox ls /; busybox ls /dev; busybox wc -l < /proc/net/dev",
        |_| {},
    );
    let words: Vec<&str> = output.split_whitespace().collect();
    for absent in ["etc", "home", "root", "sys", "var", "kmsg", "sda", "vda"] {
        assert!(!words.contains(&absent), "{absent} in {output}");
    }
    for present in ["sampan", "usr", "proc", "tmp", "null", "urandom"] {
        assert!(words.contains(&present), "{present} not in {output}");
    }
    // Two lines of heading, and the loopback, which is down.
    assert!(output.ends_with("3\n"), "{output}");
}

#[test]
fn it_is_pid_1_and_root_of_its_own_namespace_only() {
    let (_, output) = script(
        "echo $$; busybox id -u; busybox cat /proc/self/uid_map",
        |_| {},
    );
    let words: Vec<&str> = output.split_whitespace().collect();
    assert_eq!(words[..3], ["1", "0", "0"], "{output}");
    assert!(words[3].parse::<u32>().unwrap() >= 0x1000_0000);
}

#[test]
fn the_root_and_the_libraries_cannot_be_written_and_tmp_can() {
    let (_, output) = script(
        "for f in /x /usr/lib/x /bb/busybox /tmp/x; do (echo > $f) 2>/dev/null && echo wrote $f; done",
        |_| {},
    );
    assert_eq!(output, "wrote /tmp/x\n");
}

#[test]
fn the_kernel_log_is_refused() {
    let (_, output) = script("busybox dmesg 2>&1; echo $?", |_| {});
    assert!(output.contains("Operation not permitted"), "{output}");
}

#[test]
fn descriptors_arrive_under_their_numbers_and_no_others() {
    let (read, write) = std::io::pipe().unwrap();
    let (ended, output) = script(
        "echo ping >&3; busybox ls /proc/self/fd | busybox wc -l",
        |s| {
            s.fds.push((write.into(), 3));
        },
    );
    assert!(ended.success());
    let mut text = String::new();
    let mut read = read;
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ping\n");
    // 0, 1, 2, 3, and that of the listing.
    assert_eq!(output.trim(), "5");
}

#[test]
fn files_in_the_rootfs_belong_to_root_on_both_sides() {
    let root = rootfs();
    let (ended, output) = script(
        "busybox touch /rootfs/new && busybox stat -c %u:%g /rootfs/new /rootfs/bin",
        |s| s.rootfs = Some(root.path().into()),
    );
    assert!(ended.success(), "{output}");
    assert_eq!(output, "0:0\n0:0\n");
    assert_eq!(fs::metadata(root.path().join("new")).unwrap().uid(), 0);
}

#[test]
fn a_missing_program_is_an_error_that_names_it() {
    let (_, write) = std::io::pipe().unwrap();
    let sandbox = Sandbox::new("/no/such", write.into(), IdRange::random_for_build());
    let error = sandbox.spawn().err().expect("an error");
    assert!(error.chain().contains("/no/such"), "{}", error.chain());
}

#[test]
fn dropping_the_handle_kills_everything_inside() {
    let (mut process, read) = spawn(
        "/bin/sh",
        &["-c", "busybox sleep 1000 & echo up; wait"],
        |_| {},
    );
    let mut file = fs::File::from(read);
    let mut up = [0; 3];
    file.read_exact(&mut up).unwrap();
    assert!(process.try_wait().unwrap().is_none());
    drop(process);
    // The pipe ends only when every writer is dead.
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).unwrap();
}

#[test]
fn the_sandbox_outlives_the_thread_that_asked_for_it() {
    let (mut process, _read) =
        std::thread::spawn(|| spawn("/bin/sh", &["-c", "busybox sleep 1000"], |_| {}))
            .join()
            .unwrap();
    assert_eq!(
        process.wait_timeout(Duration::from_millis(200)).unwrap(),
        None
    );
    process.kill();
    assert_eq!(process.wait().unwrap(), Ended::Signaled(9));
}

#[test]
fn a_memory_limit_ends_what_exceeds_it() {
    let (ended, output) = script("busybox tail /dev/zero & wait $!; echo status $?", |s| {
        s.limits.memory = Some(32 << 20);
        s.limits.processes = Some(50);
    });
    assert!(
        ended == Ended::Signaled(9) || output.contains("status 137"),
        "{ended:?} {output}"
    );
}

#[test]
fn a_command_in_the_rootfs_sees_proc_and_dev_and_its_input() {
    let root = rootfs();
    let (ended, output) = sandboxed(
        example("in_root").to_str().unwrap(),
        &[
            "sh",
            "-c",
            "wc -c; ls /dev/pts /proc/1/status; echo $$ > /dev/null; sleep 1000 & exit 5",
        ],
        |s| s.rootfs = Some(root.path().into()),
    );
    assert_eq!(ended, Ended::Exited(5), "{output}");
    assert!(output.starts_with("300000\n"), "{output}");
    assert!(
        output.contains("ptmx") && output.contains("/proc/1/status"),
        "{output}"
    );
}

#[test]
fn links_in_a_hostile_rootfs_do_not_lead_out_of_it() {
    let root = rootfs();
    symlink("../../../../tmp", root.path().join("dev")).unwrap();
    symlink("/proc/self/fd/3", root.path().join("proc")).unwrap();
    let (ended, output) = sandboxed(example("in_root").to_str().unwrap(), &["echo", "hi"], |s| {
        s.rootfs = Some(root.path().into())
    });
    assert_eq!(ended, Ended::Exited(99), "{output}");
    assert!(output.contains("in the rootfs"), "{output}");
}

#[test]
fn it_has_a_session_of_its_own() {
    let (_, output) = script("busybox cat /proc/1/stat", |_| {});
    let (_, rest) = output.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Process group and session (proc_pid_stat(5), fields 5 and 6); 0 is one outside.
    assert_eq!(fields[2..4], ["1", "1"], "{output}");
}
