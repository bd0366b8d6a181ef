//! Containers that LXC's own tools made, and configs as Debian ships them, started by Sampan.
