//! Exact numbers, and reading them from speech: digits, English words, Chinese numerals.

/// A fraction in lowest terms; the lower part is above zero. Exact, so that 0.1 plus 0.2 is 0.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    over: i128,
    under: i128,
}

/// From here on a number is not said any more.
const LARGEST: i128 = 1_000_000_000_000_000;

impl Number {
    /// Zero.
    pub const ZERO: Number = Number { over: 0, under: 1 };

    /// A whole number.
    pub const fn whole(value: i128) -> Number {
        Number { over: value, under: 1 }
    }

    fn fraction(over: i128, under: i128) -> Option<Number> {
        // The least of all has no opposite.
        if over == i128::MIN || under == i128::MIN {
            return None;
        }
        let common = gcd(over.unsigned_abs(), under.unsigned_abs()) as i128;
        let sign = if under < 0 { -1 } else { 1 };
        if under == 0 || common == 0 {
            return None;
        }
        Some(Number { over: sign * over / common, under: sign * under / common })
    }

    /// The sum; `None` beyond our range, as for the other operations.
    pub fn plus(self, other: Number) -> Option<Number> {
        let left = self.over.checked_mul(other.under)?;
        let right = other.over.checked_mul(self.under)?;
        Number::fraction(left.checked_add(right)?, self.under.checked_mul(other.under)?)
    }

    /// The difference.
    pub fn minus(self, other: Number) -> Option<Number> {
        self.plus(other.negative())
    }

    /// The product.
    pub fn times(self, other: Number) -> Option<Number> {
        Number::fraction(self.over.checked_mul(other.over)?, self.under.checked_mul(other.under)?)
    }

    /// The quotient; `None` for a divisor of zero too.
    pub fn over(self, other: Number) -> Option<Number> {
        Number::fraction(self.over.checked_mul(other.under)?, self.under.checked_mul(other.over)?)
    }

    /// The number with its sign turned.
    pub const fn negative(self) -> Number {
        Number { over: -self.over, under: self.under }
    }

    /// Whether it is zero.
    pub const fn is_zero(self) -> bool {
        self.over == 0
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.over < 0
    }

    /// The digits without a sign, with at most four decimals, and whether they are exact; `None` when too large to be said.
    pub fn digits(self) -> Option<(String, bool)> {
        let over = self.over.checked_abs()?;
        if over / self.under >= LARGEST {
            return None;
        }
        let scaled = over.checked_mul(10_000)?;
        // Rounded half up; `under` is above zero.
        let rounded = scaled.checked_add(self.under / 2)? / self.under;
        let exact = scaled % self.under == 0;
        let (whole, part) = (rounded / 10_000, rounded % 10_000);
        if part == 0 {
            return Some((whole.to_string(), exact));
        }
        let decimals = format!("{part:04}");
        Some((format!("{whole}.{}", decimals.trim_end_matches('0')), exact))
    }

    /// Reads digits with an optional decimal point, as in `12` or `3.5`.
    pub fn read(digits: &str) -> Option<Number> {
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || whole.len() + part.len() > 24 || part.len() > 9 {
            return None;
        }
        let over = format!("{whole}{part}").parse().ok()?;
        Number::fraction(over, 10_i128.checked_pow(part.len() as u32)?)
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

fn small(word: &str) -> Option<i128> {
    SMALL.iter().position(|&w| w == word).map(|i| i as i128)
}

fn tens(word: &str) -> Option<i128> {
    TENS.iter().position(|&w| w == word).map(|i| (i as i128 + 2) * 10)
}

/// What a word for thousands and more multiplies by.
pub fn scale(word: &str) -> Option<i128> {
    match word {
        "thousand" => Some(1_000),
        "million" => Some(1_000_000),
        "billion" => Some(1_000_000_000),
        _ => None,
    }
}

/// Reads a number in English words from the front of `words`; returns it and how many words it took.
pub fn read_english(words: &[&str]) -> Option<(Number, usize)> {
    let (whole, used) = english_whole(words)?;
    let Some((part, more)) = english_decimals(words.get(used..)?) else { return Some((Number::whole(whole), used)) };
    let number = Number::read(&format!("{whole}.{part}"))?;
    Some((number, used + more))
}

/// Reads `point` and digits after it, as words or figures: `point two five`.
pub fn english_decimals(words: &[&str]) -> Option<(String, usize)> {
    let (&"point", rest) = words.split_first()? else { return None };
    let mut digits = String::new();
    let mut used = 1;
    for word in rest {
        match small(word).filter(|&d| d < 10) {
            Some(digit) => digits.push_str(&digit.to_string()),
            None if word.bytes().all(|b| b.is_ascii_digit()) => digits.push_str(word),
            None => break,
        }
        used += 1;
    }
    (!digits.is_empty()).then_some((digits, used))
}

fn english_whole(words: &[&str]) -> Option<(i128, usize)> {
    // `group` counts up to 999; a scale word moves it into `total`.
    let (mut total, mut group, mut used, mut last_scale) = (0_i128, 0_i128, 0, i128::MAX);
    let mut any = false;
    while let Some(&word) = words.get(used) {
        let starts = words.get(used + 1).is_some_and(|&next| next == "hundred" || scale(next).is_some());
        if word == "a" && !any && starts {
            group = 1;
        } else if word == "and" && any && group % 100 == 0 && words.get(used + 1).is_some_and(|&next| is_below(next)) {
            // "one hundred and five": the word carries nothing.
        } else if let Some(value) = small(word) {
            let fits = if value < 10 { group % 10 == 0 && group % 100 != 10 } else { group % 100 == 0 };
            if !fits || (value == 0 && any) {
                break;
            }
            group += value;
            any = true;
            if value == 0 {
                return Some((0, used + 1));
            }
        } else if let Some(value) = tens(word) {
            if group % 100 != 0 {
                break;
            }
            group += value;
            any = true;
        } else if word == "hundred" && group < 100 && (any || group == 1) {
            group *= 100;
            any = true;
        } else if let Some(value) = scale(word).filter(|&value| value < last_scale && group > 0) {
            total += group * value;
            (group, last_scale, any) = (0, value, true);
        } else {
            break;
        }
        used += 1;
    }
    any.then_some((total + group, used))
}

fn is_below(word: &str) -> bool {
    small(word).is_some_and(|value| value > 0) || tens(word).is_some()
}

fn han_digit(c: char) -> Option<i128> {
    Some(match c {
        '零' | '〇' => 0,
        '一' => 1,
        '二' | '两' => 2,
        '三' => 3,
        '四' => 4,
        '五' => 5,
        '六' => 6,
        '七' => 7,
        '八' => 8,
        '九' => 9,
        _ => return None,
    })
}

fn han_unit(c: char) -> Option<i128> {
    Some(match c {
        '十' => 10,
        '百' => 100,
        '千' => 1_000,
        '万' => 10_000,
        '亿' => 100_000_000,
        _ => return None,
    })
}

/// Whether the character may begin a Chinese number.
pub fn begins_han(c: char) -> bool {
    han_digit(c).is_some() || c == '十'
}

/// Reads a number in Chinese numerals (`二十三点五`, `三万`) from the front of `chars`; returns it and how many characters it took.
pub fn read_han(chars: &[char]) -> Option<(Number, usize)> {
    let mut used = 0;
    // `section` is what stands before 万 or 亿; `digit` waits for its unit.
    let (mut total, mut section, mut digit, mut last_unit) = (0_i128, 0_i128, None, 1_i128);
    let mut spelled = String::new();
    while let Some(&c) = chars.get(used) {
        if let Some(value) = han_digit(c) {
            spelled.push_str(&value.to_string());
            digit = Some(value);
        } else if let Some(unit) = han_unit(c) {
            spelled.clear();
            if unit >= 10_000 {
                total = (total + section + digit.unwrap_or(0)).checked_mul(unit)?;
                section = 0;
            } else {
                section = section.checked_add(digit.unwrap_or(1) * unit)?;
            }
            (digit, last_unit) = (None, unit);
        } else {
            break;
        }
        used += 1;
    }
    // Digits without units are a number spelled out: 一二三 is 123. After a unit the last digit counts ones, or, without a zero
    // between, a tenth of the unit: 一百五 is 150.
    let whole = if last_unit == 1 && spelled.len() > 1 {
        spelled.parse().ok()?
    } else {
        let short = last_unit >= 100 && spelled.len() == 1 && digit.is_some_and(|d| d > 0);
        total.checked_add(section)?.checked_add(digit.unwrap_or(0) * if short { last_unit / 10 } else { 1 })?
    };
    if used == 0 {
        return None;
    }
    let decimals: String = match chars.get(used) {
        Some('点') => chars[used + 1..].iter().map_while(|&c| han_digit(c)).map(|d| d.to_string()).collect(),
        _ => String::new(),
    };
    if decimals.is_empty() {
        return Some((Number::whole(whole), used));
    }
    Some((Number::read(&format!("{whole}.{decimals}"))?, used + 1 + decimals.len()))
}

/// Multiplies by the Chinese units that follow figures, as in `3万`.
pub fn han_scale(chars: &[char]) -> (i128, usize) {
    let mut scale = 1_i128;
    let mut used = 0;
    while let Some(unit) = chars.get(used).and_then(|&c| han_unit(c)) {
        let Some(product) = scale.checked_mul(unit) else { break };
        scale = product;
        used += 1;
    }
    (scale, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english(text: &str) -> Option<String> {
        let words: Vec<&str> = text.split(' ').collect();
        let (number, used) = read_english(&words)?;
        (used == words.len()).then(|| number.digits().unwrap().0)
    }

    fn han(text: &str) -> Option<String> {
        let chars: Vec<char> = text.chars().collect();
        let (number, used) = read_han(&chars)?;
        (used == chars.len()).then(|| number.digits().unwrap().0)
    }

    #[test]
    fn english_words_are_read() {
        let cases = [
            ("zero", "0"),
            ("twelve", "12"),
            ("twenty one", "21"),
            ("a hundred", "100"),
            ("one hundred and five", "105"),
            ("two thousand three hundred and forty five", "2345"),
            ("a million", "1000000"),
            ("two point five", "2.5"),
            ("zero point two five", "0.25"),
            ("three million and seven", "3000007"),
        ];
        for (text, expected) in cases {
            assert_eq!(english(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(english("one two"), None);
        assert_eq!(english("twenty twelve"), None);
        assert_eq!(english("and"), None);
    }

    #[test]
    fn chinese_numerals_are_read() {
        let cases = [
            ("零", "0"),
            ("十二", "12"),
            ("二十三", "23"),
            ("一百零五", "105"),
            ("一百五", "150"),
            ("一百五十", "150"),
            ("两千三百四十五", "2345"),
            ("一万", "10000"),
            ("三十万零二", "300002"),
            ("两亿", "200000000"),
            ("三点一四", "3.14"),
            ("一二三", "123"),
        ];
        for (text, expected) in cases {
            assert_eq!(han(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(han("三点"), None, "an hour is no decimal");
    }

    #[test]
    fn fractions_are_exact_and_bounded() {
        let tenth = Number::read("0.1").unwrap();
        let fifth = Number::read("0.2").unwrap();
        assert_eq!(tenth.plus(fifth).unwrap().digits(), Some(("0.3".to_owned(), true)));
        assert_eq!(Number::whole(10).over(Number::whole(3)).unwrap().digits(), Some(("3.3333".to_owned(), false)));
        assert_eq!(Number::whole(1).over(Number::ZERO), None);
        assert_eq!(Number::whole(i128::MAX).times(Number::whole(2)), None);
        assert_eq!(Number::whole(LARGEST).digits(), None);
        assert_eq!(Number::read("12345678901234567890123456"), None);
    }
}
