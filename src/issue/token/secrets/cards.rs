//! Card numbers.

use super::Secret;

/// A payment card, if the text is its number: digits, or groups of digits with one space or hyphen between them.
///
/// The issuer and the length must fit, and the check digit (Luhn). Times and the ids that databases count up do
/// not begin like a card number. Of random numbers of 16 digits, about one in 40 looks like one.
pub(super) fn secret_in(text: &str) -> Option<Secret> {
    let mut digits = [0_u32; MAX];
    let mut length = 0_usize;
    let mut is_apart = true;
    for character in text.chars() {
        match character.to_digit(10) {
            Some(digit) => {
                *digits.get_mut(length)? = digit;
                length = length.saturating_add(1);
                is_apart = false;
            }
            None if matches!(character, ' ' | '-') && !is_apart => is_apart = true,
            None => return None,
        }
    }
    let digits = digits.get(..length)?;
    let is_card = !is_apart && is_of_an_issuer(digits) && has_check_digit(digits);
    is_card.then_some(CARD)
}

/// The ranges and lengths of the large issuers. Rare lengths are left out: ids of that length are more common.
fn is_of_an_issuer(digits: &[u32]) -> bool {
    let first = |count| {
        digits.iter().take(count).fold(0, |number: u32, digit| {
            number.saturating_mul(10).saturating_add(*digit)
        })
    };
    match digits.len() {
        // Diners Club.
        14 => matches!(first(3), 300..=305) || matches!(first(2), 36 | 38 | 39),
        // American Express.
        15 => matches!(first(2), 34 | 37),
        // Visa, Mastercard, Discover, UnionPay, JCB, Maestro.
        16 => {
            first(1) == 4
                || matches!(first(2), 51..=55 | 62 | 65)
                || matches!(first(3), 644..=649)
                || matches!(first(4), 2221..=2720 | 3528..=3589 | 5018 | 5020 | 5038 | 5893 | 6011 | 6304 | 6759 | 6761..=6763)
        }
        // UnionPay.
        19 => first(2) == 62,
        _ => false,
    }
}

/// The check digit of ISO/IEC 7812 (Luhn).
fn has_check_digit(digits: &[u32]) -> bool {
    let sum = digits
        .iter()
        .rev()
        .enumerate()
        .fold(0_u32, |sum, (at, digit)| {
            let value = match (at % 2 == 1, digit.saturating_mul(2)) {
                (false, _) => *digit,
                (true, double @ 0..=9) => double,
                (true, double) => double.saturating_sub(9),
            };
            sum.saturating_add(value)
        });
    sum.is_multiple_of(10)
}

pub(super) const CARD: Secret = Secret {
    looks_like: "the data of a payment card",
    belongs: "keep them at the payment provider, and its id of the card in a database",
};
/// The maximum number of digits.
const MAX: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    /// Test numbers that the payment providers publish.
    #[test]
    fn card_numbers_of_every_issuer_are_found() {
        for number in [
            "4242424242424242",
            "4000056655665556",
            "5555555555554444",
            "2223003122003222",
            "5105105105105100",
            "378282246310005",
            "371449635398431",
            "6011111111111117",
            "30569309025904",
            "36227206271667",
            "3566002020360505",
            "6200000000000005",
            "6205500000000000004",
            "4242 4242 4242 4242",
            "3782-822463-10005",
        ] {
            assert_eq!(secret_in(number), Some(CARD), "{number}");
        }
    }

    #[test]
    fn ids_and_times_are_no_card_numbers() {
        for text in [
            "",
            "-",
            "4242424242424241",
            "4242  4242 4242 4242",
            "4242-4242-4242-4242-",
            "4242.4242.4242.4242",
            "a4242424242424242",
            "42424242424242424242424242424242",
            "1700000000",
            "1700000000000",
            "1764345600000000",
            "1764345600000000000",
            "20261128154000",
            "116380923472034872341",
            "1122334455667788991",
            "352099001761481",
            "+4915112345678",
            "4.2424242424242424e15",
        ] {
            assert_eq!(secret_in(text), None, "{text}");
        }
        // Times of this century in milliseconds, microseconds and nanoseconds.
        for second in (1_000_000_000_u64..2_200_000_000).step_by(9_999_991) {
            for unit in [1_000_u64, 1_000_000, 1_000_000_000] {
                for more in 0..10 {
                    let time = (second * unit + more).to_string();
                    assert_eq!(secret_in(&time), None, "{time}");
                }
            }
        }
    }
}
