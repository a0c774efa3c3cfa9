//! Writes TensorBundles, sound and unsound, without any code of the program.

use std::fs;
use std::path::Path;

/// A variable to be written. The default entry is right; tests bend single fields.
#[derive(Clone)]
pub struct Entry {
    /// The name; not necessarily UTF-8.
    pub name: Vec<u8>,
    /// The number of the type in TensorFlow's `DataType`.
    pub dtype: u64,
    /// The size of each axis.
    pub shape: Vec<i64>,
    /// The index of the data file.
    pub shard: u64,
    /// The start of the bytes in the data file.
    pub offset: u64,
    /// The number of bytes.
    pub size: u64,
    /// The checksum, unmasked.
    pub crc32c: u32,
}

/// `DT_FLOAT`.
pub const FLOAT32: u64 = 1;
/// `DT_DOUBLE`.
pub const FLOAT64: u64 = 2;
/// `DT_HALF`.
pub const FLOAT16: u64 = 19;
/// `DT_BFLOAT16`.
pub const BFLOAT16: u64 = 14;
/// `DT_INT32`.
pub const INT32: u64 = 3;

/// A checkpoint in the making.
#[derive(Clone, Default)]
pub struct Bundle {
    /// The variables, in any order.
    pub entries: Vec<Entry>,
    /// The bytes of the data file.
    pub data: Vec<u8>,
}

impl Bundle {
    /// Adds a variable whose bytes are `bytes`.
    pub fn add(&mut self, name: &str, dtype: u64, shape: &[i64], bytes: &[u8]) {
        self.entries.push(Entry {
            name: name.as_bytes().to_vec(),
            dtype,
            shape: shape.to_vec(),
            shard: 0,
            offset: self.data.len() as u64,
            size: bytes.len() as u64,
            crc32c: crc32c::crc32c(bytes),
        });
        self.data.extend_from_slice(bytes);
    }

    /// Adds a float32 variable with distinct values.
    pub fn add_floats(&mut self, name: &str, shape: &[i64]) {
        let seed = crc32c::crc32c(name.as_bytes()) >> 16;
        let elements = u32::try_from(shape.iter().product::<i64>()).unwrap();
        #[allow(clippy::cast_precision_loss)]
        let bytes: Vec<u8> = (0..elements)
            .flat_map(|i| (((i * 7 + seed) % 1013) as f32 / 1013.0 - 0.5).to_le_bytes())
            .collect();
        self.add(name, FLOAT32, shape, &bytes);
    }

    /// Returns the entry of a variable, to be changed.
    pub fn entry(&mut self, name: &str) -> &mut Entry {
        let found = self.entries.iter_mut().find(|e| e.name == name.as_bytes());
        found.unwrap_or_else(|| panic!("{name}"))
    }

    /// Removes a variable; its bytes stay in the data file.
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|e| e.name != name.as_bytes());
    }

    /// The index, with a sound header.
    pub fn index(&self) -> Vec<u8> {
        let header = message(&[
            (1, Field::Varint(1)),
            (3, Field::Bytes(message(&[(1, Field::Varint(1))]))),
        ]);
        self.index_with_header(&header)
    }

    /// Returns the index with any bytes as the header.
    pub fn index_with_header(&self, header: &[u8]) -> Vec<u8> {
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = self
            .entries
            .iter()
            .map(|e| (e.name.clone(), e.encode()))
            .collect();
        pairs.sort();
        pairs.insert(0, (Vec::new(), header.to_vec()));
        table(&pairs, 20, Compression::None)
    }

    /// Writes `PREFIX.index` and `PREFIX.data-00000-of-00001`.
    pub fn write(&self, prefix: &Path) {
        let path = |suffix: &str| format!("{}{suffix}", prefix.display());
        fs::write(path(".index"), self.index()).unwrap();
        fs::write(path(".data-00000-of-00001"), &self.data).unwrap();
    }
}

impl Entry {
    /// Returns the `BundleEntryProto`.
    pub fn encode(&self) -> Vec<u8> {
        let dims: Vec<(u32, Field)> = self
            .shape
            .iter()
            .map(|&size| {
                (
                    2,
                    Field::Bytes(message(&[(1, Field::Varint(size.cast_unsigned()))])),
                )
            })
            .collect();
        message(&[
            (1, Field::Varint(self.dtype)),
            (2, Field::Bytes(message(&dims))),
            (3, Field::Varint(self.shard)),
            (4, Field::Varint(self.offset)),
            (5, Field::Varint(self.size)),
            (6, Field::Fixed32(mask(self.crc32c))),
        ])
    }
}

/// A protobuf field.
pub enum Field {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2: bytes, a string or a message.
    Bytes(Vec<u8>),
    /// Wire type 5.
    Fixed32(u32),
}

/// Encodes a protobuf message of numbered fields.
pub fn message(fields: &[(u32, Field)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, field) in fields {
        let (wire, bytes) = match field {
            Field::Varint(value) => (0, varint(*value)),
            Field::Bytes(bytes) => (2, [varint(bytes.len() as u64), bytes.clone()].concat()),
            Field::Fixed32(value) => (5, value.to_le_bytes().to_vec()),
        };
        out.extend(varint(u64::from(number << 3 | wire)));
        out.extend(bytes);
    }
    out
}

/// Encodes a base-128 integer.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

/// Masks a checksum, as LevelDB stores it.
pub fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The compression of a block.
#[derive(Clone, Copy, PartialEq)]
pub enum Compression {
    /// The bytes as they are.
    None,
    /// Snappy.
    Snappy,
}

/// A table of sorted pairs, `per_block` to a block.
pub fn table(pairs: &[(Vec<u8>, Vec<u8>)], per_block: usize, compression: Compression) -> Vec<u8> {
    let mut file = Vec::new();
    let mut index = Vec::new();
    for chunk in pairs.chunks(per_block) {
        let handle = push_block(&mut file, &block(chunk), compression);
        index.push((chunk.last().unwrap().0.clone(), handle));
    }
    let meta = push_block(&mut file, &block(&[]), Compression::None);
    let index = push_block(&mut file, &block(&index), compression);
    push_footer(&mut file, &[meta, index].concat());
    file
}

/// Appends the footer with these handles, padded, and the magic number.
pub fn push_footer(file: &mut Vec<u8>, handles: &[u8]) {
    let mut footer = handles.to_vec();
    footer.resize(40, 0);
    footer.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    file.extend(footer);
}

/// Entries with shared prefixes, a restart point every 16.
pub fn block(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut restarts = Vec::new();
    let mut last: &[u8] = &[];
    for (i, (key, value)) in pairs.iter().enumerate() {
        let mut shared = std::iter::zip(last, key)
            .take_while(|(a, b)| a == b)
            .count();
        if i % 16 == 0 {
            restarts.push(u32::try_from(out.len()).unwrap());
            shared = 0;
        }
        out.extend(varint(shared as u64));
        out.extend(varint((key.len() - shared) as u64));
        out.extend(varint(value.len() as u64));
        out.extend(&key[shared..]);
        out.extend(value);
        last = key;
    }
    if restarts.is_empty() {
        restarts.push(0);
    }
    let count = u32::try_from(restarts.len()).unwrap();
    out.extend(
        restarts
            .into_iter()
            .chain([count])
            .flat_map(u32::to_le_bytes),
    );
    out
}

/// Appends a block with its trailer; returns its handle.
pub fn push_block(file: &mut Vec<u8>, block: &[u8], compression: Compression) -> Vec<u8> {
    let mut bytes = match compression {
        Compression::None => block.to_vec(),
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(block).unwrap(),
    };
    let handle = [varint(file.len() as u64), varint(bytes.len() as u64)].concat();
    bytes.push(u8::from(compression == Compression::Snappy));
    let crc = mask(crc32c::crc32c(&bytes));
    file.extend(bytes);
    file.extend(crc.to_le_bytes());
    handle
}

/// The sizes of an ELECTRA to be made up.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Rows of the word embeddings.
    pub vocab: i64,
    /// Columns of the embeddings.
    pub embedding: i64,
    /// Rows of the position embeddings.
    pub positions: i64,
    /// Rows of the token type embeddings.
    pub token_types: i64,
    /// Width of the layers.
    pub hidden: i64,
    /// Width of the feed-forward part.
    pub intermediate: i64,
    /// Number of layers.
    pub layers: i64,
}

/// The smallest sizes that differ from each other.
pub const SMALL: Sizes = Sizes {
    vocab: 40,
    embedding: 8,
    positions: 12,
    token_types: 2,
    hidden: 64,
    intermediate: 24,
    layers: 2,
};

/// A discriminator as the original code would save it.
pub fn discriminator(s: Sizes) -> Bundle {
    let mut bundle = Bundle::default();
    let (e, h, i) = (s.embedding, s.hidden, s.intermediate);
    let mut add = |name: &str, shape: &[i64]| bundle.add_floats(name, shape);
    add("electra/embeddings/word_embeddings", &[s.vocab, e]);
    add("electra/embeddings/position_embeddings", &[s.positions, e]);
    add(
        "electra/embeddings/token_type_embeddings",
        &[s.token_types, e],
    );
    add("electra/embeddings/LayerNorm/gamma", &[e]);
    add("electra/embeddings/LayerNorm/beta", &[e]);
    if e != h {
        add("electra/embeddings_project/kernel", &[e, h]);
        add("electra/embeddings_project/bias", &[h]);
    }
    for n in 0..s.layers {
        let layer = format!("electra/encoder/layer_{n}");
        for (dense, rows, columns) in [
            ("attention/self/query", h, h),
            ("attention/self/key", h, h),
            ("attention/self/value", h, h),
            ("attention/output/dense", h, h),
            ("intermediate/dense", h, i),
            ("output/dense", i, h),
        ] {
            add(&format!("{layer}/{dense}/kernel"), &[rows, columns]);
            add(&format!("{layer}/{dense}/bias"), &[columns]);
        }
        for norm in ["attention/output/LayerNorm", "output/LayerNorm"] {
            add(&format!("{layer}/{norm}/gamma"), &[h]);
            add(&format!("{layer}/{norm}/beta"), &[h]);
        }
    }
    add("discriminator_predictions/dense/kernel", &[h, h]);
    add("discriminator_predictions/dense/bias", &[h]);
    add("discriminator_predictions/dense_1/kernel", &[h, 1]);
    add("discriminator_predictions/dense_1/bias", &[1]);
    bundle
}

/// Replaces the attention kernels of an encoder (`electra`, `generator`) by random ones whose heads differ in
/// scale, as training leaves them.
pub fn plant_heads(bundle: &mut Bundle, encoder: &str, sizes: Sizes, heads: i64) {
    let width = usize::try_from(sizes.hidden).unwrap();
    let size = width / usize::try_from(heads).unwrap();
    for layer in 0..sizes.layers {
        for (dense, is_output) in [
            ("self/query", false),
            ("self/key", false),
            ("self/value", false),
            ("output/dense", true),
        ] {
            let name = format!("{encoder}/encoder/layer_{layer}/attention/{dense}/kernel");
            let mut state = u64::from(crc32c::crc32c(name.as_bytes()));
            // A linear congruential generator, by Knuth.
            let mut random = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                f32::from(u16::try_from(state >> 48).unwrap()) / 65536.0 - 0.5
            };
            let scales: Vec<f32> = (0..width / size).map(|_| (3.0 * random()).exp()).collect();
            let bytes: Vec<u8> = (0..width * width)
                .flat_map(|at| {
                    let [row, column] = [at / width, at % width];
                    let unit = if is_output { row } else { column };
                    (0.1 * random() * scales[unit / size]).to_le_bytes()
                })
                .collect();
            bundle.remove(&name);
            bundle.add(&name, FLOAT32, &[sizes.hidden; 2], &bytes);
        }
    }
}
