//! Shards of the jobs, for several machines.

use std::fmt;

/// The shard number `index` of `count`, counted from 0. A job's shard depends on its name alone: more jobs do not move
/// the others to another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// Parses `I/N`, with I from 0 to N - 1.
    ///
    /// # Errors
    /// What is expected in place of other words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_number)
        };
        let parts = text.split_once('/');
        match parts.and_then(|(index, count)| Some((number(index)?, number(count)?))) {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            Some((_, count)) if count > 0 => Err(format!(
                "shards are counted from 0: expected 0/{count} to {}/{count}",
                count - 1
            )),
            _ => Err("expected I/N, such as 0/8".to_owned()),
        }
    }

    /// Returns true for the jobs of this shard.
    pub fn contains(self, name: &str) -> bool {
        hash(name) % self.count == self.index
    }

    pub(super) fn index(self) -> u64 {
        self.index
    }

    pub(super) fn count(self) -> u64 {
        self.count
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// FNV-1a of 64 bits, and the finaliser of MurmurHash3, without which names that differ in one digit fall into the same
/// shards. It must never change: several versions of the program may share one batch.
fn hash(name: &str) -> u64 {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_one_shard_and_shards_are_about_equal() {
        let shards: Vec<Shard> = (0..8)
            .map(|index| Shard::parse(&format!("{index}/8")).unwrap())
            .collect();
        let mut sizes = [0; 8];
        for step in 0..1000 {
            let name = format!("run-{}-discriminator", step * 1000);
            let own: Vec<usize> = (0..8).filter(|at| shards[*at].contains(&name)).collect();
            assert_eq!(own.len(), 1, "{name}");
            sizes[own[0]] += 1;
        }
        assert!(
            sizes.iter().all(|size| (90..=160).contains(size)),
            "{sizes:?}"
        );
    }

    #[test]
    fn the_hash_stays_the_same() {
        let of = |name| hash(name) % 1000;
        assert_eq!(
            [of(""), of("a"), of("run-400-discriminator")],
            [342, 315, 113]
        );
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["", "3", "/8", "3/", "a/8", "-1/8", "+1/8", "0/0", "3/8/2"] {
            let error = Shard::parse(text).unwrap_err();
            assert!(error.contains("such as 0/8"), "{error}");
        }
        let error = Shard::parse("8/8").unwrap_err();
        assert!(error.contains("0/8 to 7/8"), "{error}");
    }
}
