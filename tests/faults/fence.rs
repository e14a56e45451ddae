//! A memory limit for a server, as the manifests set one for its container: above it the kernel
//! kills the server.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel's control groups: version 1 and version 2.
const ROOTS: [(&str, &str); 2] = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

/// The limit; it is removed when this is dropped, after the server.
pub(crate) struct Fence {
    folder: tempfile::TempDir,
    /// `None` if it cannot be set: without root, or without the controller.
    group: Option<PathBuf>,
}

impl Fence {
    /// Sets a limit of `limit` MiB, if possible.
    pub(crate) fn new(limit: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let name = format!("signpost-faults-{}", folder.path().file_name().unwrap_or_default().display());
        let group = ROOTS.iter().find_map(|(root, file)| {
            let group = Path::new(root).join(&name);
            std::fs::create_dir(&group).ok()?;
            // Swap would only make it slow.
            let _ = std::fs::write(group.join("memory.swap.max"), "0");
            let is_set =
                group.join(file).exists() && std::fs::write(group.join(file), (limit << 20).to_string()).is_ok();
            if !is_set {
                let _ = std::fs::remove_dir(&group);
            }
            is_set.then_some(group)
        });
        Self { folder, group }
    }

    /// Returns whether there is a limit.
    pub(crate) fn holds(&self) -> bool {
        self.group.is_some()
    }

    /// Returns a program that starts `program` inside the limit.
    ///
    /// A shell of its own writes it: while this process has it open for writing, a child that
    /// another thread starts would hold it open too, and the kernel runs no file that is being
    /// written (ETXTBSY).
    pub(crate) fn program(&self, program: &Path) -> PathBuf {
        let Some(group) = &self.group else { return program.to_owned() };
        let path = self.folder.path().join("within");
        let enter = group.join("cgroup.procs");
        let text = format!("#!/bin/sh\necho $$ >{}\nexec {} \"$@\"\n", enter.display(), program.display());
        let write = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
        let status = Command::new("sh").args(["-c", write, "sh", &text]).arg(&path).status();
        assert!(status.expect("a shell").success(), "writes");
        path
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            let _ = std::fs::remove_dir(group);
        }
    }
}
