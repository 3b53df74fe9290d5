//! How a command fails: one sentence about what is wrong, the causes below it, one sentence about what to do next.

use std::error::Error;
use std::fmt;
use std::io::Write as _;

use crate::exit::Exit;

/// See the [module](self).
#[derive(Debug)]
pub struct Failure {
    /// For the shell.
    pub exit: Exit,
    what: String,
    causes: Vec<String>,
    next: Option<String>,
}

/// What commands return.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// Something is wrong. `what` may be empty when everything has been printed already.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), causes: Vec::new(), next: None }
    }

    /// The same, because of `error` and whatever caused that.
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors repeat their source in their own sentence.
            if !self.causes.last().is_some_and(|above| above.contains(&text)) {
                self.causes.push(text);
            }
            cause = error.source();
        }
        self
    }

    /// The same, because of this.
    pub fn reason(mut self, text: impl Into<String>) -> Self {
        self.causes.push(text.into());
        self
    }

    /// The same, with what to do about it.
    pub fn next(mut self, sentence: impl Into<String>) -> Self {
        self.next = Some(sentence.into());
        self
    }

    /// Tells the operator.
    pub fn print(&self) {
        if !self.what.is_empty() {
            // Nobody is left to hear that stderr is closed.
            let _ = write!(std::io::stderr().lock(), "{self}");
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kiln: {}", self.what)?;
        for cause in &self.causes {
            writeln!(f, "  because {cause}")?;
        }
        if let Some(next) = &self.next {
            writeln!(f, "  {next}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read it: {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("the disk is on fire"));
        let failure = Failure::new(Exit::General, "no volfile").because(&error).next("Call someone.");
        assert_eq!(
            failure.to_string(),
            "kiln: no volfile\n  because cannot read it: the disk is on fire\n  Call someone.\n"
        );
    }
}
