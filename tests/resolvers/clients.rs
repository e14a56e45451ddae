//! Programs that look names up, each with another resolver.

use std::path::Path;
use std::process::{Command, Output};

use signpost::bench::ndots::{Family, Resolver};

/// The addresses that the recorder returns.
pub(crate) const ADDRESSES: [(Family, &str); 2] = [(Family::V4, "192.0.2.1"), (Family::V6, "2001:db8::1")];

const C: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/src/resolve.c");
const GO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/resolvers/resolve.go");

/// One program: its resolver and how it is compiled.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    resolver: Resolver,
    compiler: &'static [&'static str],
    source: &'static str,
    package: &'static str,
}

impl Client {
    pub(crate) const ALL: [Self; 3] = [
        Self { resolver: Resolver::Glibc, compiler: &["cc", "-O", "-o"], source: C, package: "apt-get install gcc" },
        Self {
            resolver: Resolver::Musl,
            compiler: &["musl-gcc", "-static", "-O", "-o"],
            source: C,
            package: "apt-get install musl-tools",
        },
        Self { resolver: Resolver::Go, compiler: &["go", "build", "-o"], source: GO, package: "Go 1.26 from go.dev" },
    ];

    pub(crate) fn resolver(&self) -> Resolver {
        self.resolver
    }

    fn name(&self) -> String {
        format!("{:?}", self.resolver).to_lowercase()
    }

    /// Compiles the program into `folder`; the error says what is missing.
    pub(crate) fn build(&self, folder: &Path) -> Result<(), String> {
        let [compiler, arguments @ ..] = self.compiler else { return Err("no compiler".into()) };
        let output = Command::new(compiler)
            .args(arguments)
            .arg(folder.join(self.name()))
            .arg(self.source)
            .env("CGO_ENABLED", "0")
            .output()
            .map_err(|error| format!("{compiler}: {error} ({})", self.package))?;
        // A compiler that exists and fails is a defect.
        assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    pub(crate) fn is_built(&self, folder: &Path) -> bool {
        folder.join(self.name()).exists()
    }

    /// Looks a name up, and returns the families with addresses.
    pub(crate) fn look_up(&self, folder: &Path, name: &str, families: &[Family]) -> Vec<Family> {
        let text = self.say(folder, name, families);
        let has = |address: &str| text.split_whitespace().any(|word| word == address);
        ADDRESSES.iter().filter(|(_, address)| has(address)).map(|(family, _)| *family).collect()
    }

    /// Looks a name up, and returns what the program prints.
    pub(crate) fn say(&self, folder: &Path, name: &str, families: &[Family]) -> String {
        let only = match families {
            [Family::V4] => Some("-4"),
            [Family::V6] => Some("-6"),
            _ => None,
        };
        let output: Output =
            Command::new(folder.join(self.name())).args(only).arg(name).output().expect("the program runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
