//! The graph of `kiln mount --brick DIR` and `kiln serve --brick DIR`, for which nobody writes a volfile.

use super::{Node, Spanned, Volfile};

/// What a brick without volfile is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedded<'a> {
    /// The brick directory, absolute.
    pub directory: &'a str,
    /// What `trusted.glusterfs.volume-id` of the directory must be.
    pub volume_id: Option<&'a str>,
    /// Refuse every change.
    pub read_only: bool,
    /// Check POSIX ACLs and modes (`features/access-control`).
    pub acl: bool,
}

impl Embedded<'_> {
    /// storage/posix, features/access-control unless it is off, features/read-only when asked for, debug/io-stats on top:
    /// the order of a stock brick.
    #[must_use]
    pub fn volfile(&self) -> Volfile {
        let mut options = vec![("directory", self.directory)];
        options.extend(self.volume_id.map(|id| ("volume-id", id)));
        let mut nodes = vec![Node::new("brick-posix", "storage/posix", &options, &[])];
        let mut add = |name: &str, kind: &str, options: &[(&str, &str)]| {
            let below = nodes.last().map_or_else(String::new, |node| node.name.text.clone());
            nodes.push(Node::new(name, kind, options, &[&below]));
        };
        if self.acl {
            add("brick-access-control", "features/access-control", &[]);
        }
        if self.read_only {
            add("brick-read-only", "features/read-only", &[("read-only", "on")]);
        }
        let counted =
            [("count-fop-hits", "on"), ("latency-measurement", "on"), ("unique-id", self.directory)];
        add("brick-io-stats", "debug/io-stats", &counted);
        Volfile { nodes }
    }

    /// The same with features/locks in its place, the top named as `glusterd` names a brick, by its directory, and
    /// protocol/server on it, which lets everybody in.
    #[must_use]
    pub fn served(&self) -> Volfile {
        let Volfile { mut nodes } = self.volfile();
        let top = nodes.pop();
        let below = |nodes: &[Node]| nodes.last().map_or_else(String::new, |node| node.name.text.clone());
        let locked = below(&nodes);
        nodes.push(Node::new("brick-locks", "features/locks", &[], &[&locked]));
        nodes.extend(top.map(|top| Node {
            name: Spanned::synthetic(self.directory),
            subvolumes: vec![Spanned::synthetic("brick-locks")],
            ..top
        }));
        let allow = format!("auth.addr.{}.allow", self.directory);
        nodes.push(Node::new("brick-server", "protocol/server", &[(&allow, "*")], &[self.directory]));
        Volfile { nodes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_stand_on_each_other() {
        let brick = Embedded { directory: "/a b", volume_id: None, read_only: true, acl: true };
        let (volfile, findings) = super::super::parse(&brick.volfile().to_string());
        assert!(findings.is_empty(), "{findings:?}");
        let kinds: Vec<&str> = volfile.nodes.iter().map(|node| node.kind.text.as_str()).collect();
        assert_eq!(
            kinds,
            ["storage/posix", "features/access-control", "features/read-only", "debug/io-stats"]
        );
        for pair in volfile.nodes.windows(2) {
            assert_eq!(pair[1].subvolumes[0].text, pair[0].name.text);
        }
        assert_eq!(volfile.nodes[0].options[0].value.text, "/a b");
    }
}
