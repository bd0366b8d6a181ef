//! `sampan config set` and `unset`.

use crate::{context::Context, failure::Outcome};

/// Arguments of `set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The whole config is checked before it is written. A key that holds several values gets those given and
no others, or one more with --add. An empty value (\"\") resets a key, also one that an included file
sets.

Examples:
  sampan config set web lxc.uts.name www
  sampan config set web lxc.cap.drop \"sys_time sys_module\" mknod
  sampan config set web lxc.environment LANG=C.UTF-8 --add")]
pub struct SetArgs {
    /// The container
    name: String,
    /// The key
    key: String,
    /// The value, or the values of a key that holds several
    #[arg(required = true, allow_negative_numbers = true, value_name = "VALUE")]
    values: Vec<String>,
    /// Keep the values that are there
    #[arg(long)]
    add: bool,
}

/// Arguments of `unset`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sampan config unset web lxc.cgroup2.memory.max")]
pub struct UnsetArgs {
    /// The container
    name: String,
    /// The key
    key: String,
}

/// Runs `set`.
pub fn set(context: &Context, args: &SetArgs) -> Outcome {
    context.need_root("changing a container's config")?;
    let container = context.container(&args.name)?;
    let edited = container.edit_config(|file| {
        if !args.add {
            return file.assign(&args.key, &args.values);
        }
        args.values
            .iter()
            .try_for_each(|value| file.add(&args.key, value))
    })?;
    super::report(context, &args.name, &edited);
    Ok(())
}

/// Runs `unset`.
pub fn unset(context: &Context, args: &UnsetArgs) -> Outcome {
    context.need_root("changing a container's config")?;
    let container = context.container(&args.name)?;
    let edited = container.edit_config(|file| file.unset(&args.key))?;
    super::report(context, &args.name, &edited);
    Ok(())
}
