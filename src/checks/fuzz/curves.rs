//! Checks with simple arithmetic whether a point is on its curve, independently of the backend.

/// A curve `y² = x³ - 3x + b` over a prime field (SEC 2, section 2).
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) algorithm: &'static str,
    /// The length of one coordinate in bytes.
    pub(super) length: usize,
    prime: &'static str,
    b: &'static str,
}

impl Curve {
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        CURVES.iter().find(|curve| curve.name == name)
    }

    pub(super) fn has(&self, x: &[u8], y: &[u8]) -> bool {
        let field = Field::of(self.prime);
        let [x, y] = [x, y].map(|bytes| field.read(bytes));
        let b = field.read(&from_hex(self.b));
        let is_small = field.is_reduced(&x) && field.is_reduced(&y);
        let (square, three_x) = (field.times(&x, &x), field.plus(&x, &field.plus(&x, &x)));
        let right = field.plus(&field.minus(&field.times(&square, &x), &three_x), &b);
        is_small && field.times(&y, &y) == right
    }
}

/// Whether a point of Ed25519, compressed, has order 1, 2, 4 or 8.
///
/// Its `y` is 1, -1 or 0, or it doubles to a point with `y = 0`. On `-x² + y² = 1 + dx²y²` that is
/// where `x² = -y²`, so where `dy⁴ + 2y² = 1`.
pub(super) fn has_small_order(point: &[u8]) -> bool {
    let field = Field::of(EDWARDS_PRIME);
    let mut y: Vec<u8> = point.iter().rev().copied().collect();
    if let Some(first) = y.first_mut() {
        *first &= 0x7F;
    }
    let zero = field.read(&[]);
    // An encoded number may be greater than the field.
    let y = field.plus(&field.read(&y), &zero);
    let one = field.read(&[1]);
    let square = field.times(&y, &y);
    let fourth = field.times(&square, &square);
    let left = field.times(&field.read(&from_hex(EDWARDS_D)), &fourth);
    let left = field.plus(&left, &field.plus(&square, &square));
    square == zero || square == one || left == one
}

struct Field {
    prime: Number,
}

/// Digits of 32 bits, the least significant first, with room for one bit more than the prime has.
type Number = Vec<u64>;

impl Field {
    fn of(prime: &str) -> Self {
        let bytes = from_hex(prime);
        let digits = bytes.len().div_ceil(4) + 1;
        Self {
            prime: number(&bytes, digits),
        }
    }

    fn read(&self, bytes: &[u8]) -> Number {
        number(bytes, self.prime.len())
    }

    fn is_reduced(&self, number: &Number) -> bool {
        number.iter().rev().lt(self.prime.iter().rev())
    }

    fn plus(&self, one: &Number, other: &Number) -> Number {
        let mut carry = 0;
        let sum: Number = one
            .iter()
            .zip(other)
            .map(|(one, other)| {
                let digit = one + other + carry;
                carry = digit >> 32;
                digit & 0xFFFF_FFFF
            })
            .collect();
        if self.is_reduced(&sum) {
            sum
        } else {
            difference(&sum, &self.prime)
        }
    }

    fn minus(&self, one: &Number, other: &Number) -> Number {
        self.plus(one, &difference(&self.prime, other))
    }

    fn times(&self, one: &Number, other: &Number) -> Number {
        let mut product = self.read(&[]);
        for digit in other.iter().rev() {
            for bit in (0..32).rev() {
                product = self.plus(&product, &product);
                if digit >> bit & 1 == 1 {
                    product = self.plus(&product, one);
                }
            }
        }
        product
    }
}

fn number(bytes: &[u8], digits: usize) -> Number {
    let read = |digit: &[u8]| {
        digit
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let mut number: Number = bytes.rchunks(4).map(read).collect();
    number.resize(digits, 0);
    number
}

/// Subtracts a number from one that is not less.
fn difference(one: &Number, other: &Number) -> Number {
    let mut borrow = 0;
    let digits = one.iter().zip(other).map(|(one, other)| {
        let digit = (1 << 32) + one - other - borrow;
        borrow = 1 - (digit >> 32);
        digit & 0xFFFF_FFFF
    });
    digits.collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let mut digits = text.chars().filter_map(|digit| digit.to_digit(16));
    let mut bytes = Vec::new();
    while let (Some(high), Some(low)) = (digits.next(), digits.next()) {
        bytes.extend(u8::try_from(high * 16 + low));
    }
    bytes
}

static CURVES: [Curve; 3] = [
    Curve {
        name: "P-256",
        algorithm: "ES256",
        length: 32,
        prime: "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        b: "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
    },
    Curve {
        name: "P-384",
        algorithm: "ES384",
        length: 48,
        prime: "ffffffffffffffffffffffffffffffffffffffffffffffff
                fffffffffffffffeffffffff0000000000000000ffffffff",
        b: "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe814112
            0314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
    },
    Curve {
        name: "P-521",
        algorithm: "ES512",
        length: 66,
        prime: "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
                ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        b: "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109
            e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
    },
];

const EDWARDS_PRIME: &str = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
const EDWARDS_D: &str = "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3";
