//! `fnmatch(3)` without flags, on bytes: the patterns in which clients ask for extended attributes.
//!
//! `*`, `?`, `[...]` with ranges, classes (`[:alpha:]`), single-character `[.x.]` and `[=x=]`, negation by `!` or `^`, and
//! `\` before a character that stands for itself. Like glibc in the C locale: a `/` and a leading `.` are ordinary, a `[`
//! without its `]` stands for itself.

/// Whether `name` as a whole matches `pattern`.
#[must_use]
pub fn fnmatch(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at_pattern, mut at_name) = (0, 0);
    // Where to go on when what follows the last star does not match: the star may take one byte more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = if pattern.get(at_pattern) == Some(&b'*') {
            star = Some((at_pattern + 1, at_name));
            at_pattern += 1;
            continue;
        } else if at_name == name.len() {
            // Nothing but more stars could match now.
            return at_pattern == pattern.len();
        } else {
            match_one(&pattern[at_pattern..], name[at_name])
        };
        match (step, star) {
            (Some(used), _) => {
                at_pattern += used;
                at_name += 1;
            }
            (None, Some((after_star, taken))) => {
                star = Some((after_star, taken + 1));
                (at_pattern, at_name) = (after_star, taken + 1);
            }
            (None, None) => return false,
        }
    }
}

/// Whether a pattern can match anything but one name: itself.
#[must_use]
pub fn is_pattern(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Matches `byte` with the first element of `pattern`, which is no star: how long that is, `None` for no match.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => match Bracket::parse(rest, byte) {
            Some(Bracket { matches, used }) => matches.then_some(used + 1),
            None => (byte == b'[').then_some(1),
        },
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        // A backslash at the end matches nothing.
        [b'\\'] => None,
        [own, ..] => (*own == byte).then_some(1),
    }
}

struct Bracket {
    matches: bool,
    /// Bytes after the opening bracket, the closing one included.
    used: usize,
}

impl Bracket {
    /// Reads what follows a `[`; `None` when it is never closed, or names a class or character that does not exist.
    fn parse(text: &[u8], byte: u8) -> Option<Self> {
        let negated = matches!(text.first(), Some(b'!' | b'^'));
        let first = usize::from(negated);
        let mut at = first;
        let mut found = false;
        loop {
            match text.get(at..)? {
                [b']', ..] if at > first => return Some(Self { matches: found != negated, used: at + 1 }),
                [b'[', b':', rest @ ..] => {
                    let len = rest.windows(2).position(|two| two == b":]")?;
                    found |= in_class(&rest[..len], byte)?;
                    at += len + 4;
                }
                _ => {
                    let (low, used) = element(&text[at..])?;
                    at += used;
                    let high = match text.get(at..)? {
                        [b'-', next, ..] if *next != b']' => {
                            let (high, used) = element(&text[at + 1..])?;
                            at += 1 + used;
                            high
                        }
                        _ => low,
                    };
                    found |= (low..=high).contains(&byte);
                }
            }
        }
    }
}

/// One character of a bracket, and how many bytes tell it.
fn element(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'[', b'.', byte, b'.', b']', ..] | [b'[', b'=', byte, b'=', b']', ..] => Some((*byte, 5)),
        [b'[', b'.' | b'=', ..] => None,
        [b'\\', byte, ..] => Some((*byte, 2)),
        [byte, ..] => Some((*byte, 1)),
        [] => None,
    }
}

fn in_class(class: &[u8], byte: u8) -> Option<bool> {
    Some(match class {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Answers of glibc 2.36 (`fnmatch(pattern, name, 0)`).
    #[test]
    fn answers_of_glibc() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("*", "", true),
            ("**", "abc", true),
            ("?", "", false),
            ("trusted.*.*.contri", "trusted.glusterfs.quota.contri", true),
            ("trusted.*.*.contri", "trusted.glusterfs.contri", false),
            ("user.*", "user.", true),
            ("user.*", "trusted.user.x", false),
            ("*.glusterfs.*.xtime", "trusted.glusterfs.0a-b.xtime", true),
            ("*.glusterfs.*.xtime", "trusted.glusterfs.xtime", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("*a", "/.a", true),
            ("[abc]", "b", true),
            ("[!abc]", "b", false),
            ("[^abc]", "d", true),
            ("[a-c]x", "cx", true),
            ("[c-a]", "b", false),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[]-a]", "^", true),
            ("[a-]", "-", true),
            ("[--0]", ".", true),
            ("[[:digit:]x]", "7", true),
            ("[[:digit:]x]", "x", true),
            ("[![:space:]]", " ", false),
            ("[[.a.]-c]", "b", true),
            ("[[=a=]]", "a", true),
            ("[\\]]", "]", true),
            ("[a", "[a", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", false),
            ("[[:nonsense:]]", "n", false),
        ] {
            assert_eq!(fnmatch(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} on {name}");
        }
    }

    /// The plain recursive definition.
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => slow(rest, name) || (!name.is_empty() && slow(pattern, &name[1..])),
            (_, []) => false,
            (_, [byte, rest @ ..]) => {
                match_one(pattern, *byte).is_some_and(|used| slow(&pattern[used..], rest))
            }
        }
    }

    proptest! {
        #[test]
        fn going_back_to_the_last_star_is_enough(pattern in "[ab*?\\[\\]!\\\\-]{0,10}", name in "[ab\\[-]{0,8}") {
            prop_assert_eq!(fnmatch(pattern.as_bytes(), name.as_bytes()), slow(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn a_name_without_special_bytes_matches_itself_only(a in "[a-c.]{0,5}", b in "[a-c.]{0,5}") {
            prop_assert_eq!(fnmatch(a.as_bytes(), b.as_bytes()), a == b);
            prop_assert!(!is_pattern(a.as_bytes()));
        }

        #[test]
        fn any_bytes(pattern: Vec<u8>, name: Vec<u8>) {
            let _ = fnmatch(&pattern, &name);
        }
    }
}
