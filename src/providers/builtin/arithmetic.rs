//! Sums as people say them: "what is twelve times three", "3 + 4 * 5", "三加五等于几".

use super::number::{self, Number};

/// A sum found in a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The first number.
    pub first: Number,
    /// Each operation and the number that follows it.
    pub rest: Vec<(Operation, Number)>,
}

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Addition.
    Plus,
    /// Subtraction.
    Minus,
    /// Multiplication.
    Times,
    /// Division.
    Over,
    /// A percentage of: `20 percent of 50`.
    PercentOf,
}

/// What a sum comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number that can be said.
    Number(Number),
    /// A division by zero.
    NoDivision,
    /// Beyond what we reckon with.
    TooLarge,
}

/// Operations in one sum; a longer one is not spoken by anybody.
const OPERATIONS: usize = 16;

impl Sum {
    /// The first sum in `question`, which is lower case; `None` if there is none.
    pub fn find(question: &str) -> Option<Sum> {
        let tokens = tokens(question);
        (0..tokens.len()).find_map(|from| Sum::read(&tokens[from..]))
    }

    fn read(tokens: &[Token]) -> Option<Sum> {
        let (first, mut at) = signed(tokens)?;
        let mut rest = Vec::new();
        while let Some(Token::Operation(operation)) = tokens.get(at) {
            let Some((number, used)) = signed(&tokens[at + 1..]) else { break };
            rest.push((*operation, number));
            at += 1 + used;
            if rest.len() == OPERATIONS {
                break;
            }
        }
        (!rest.is_empty()).then_some(Sum { first, rest })
    }

    /// What it comes to, multiplication and division first.
    pub fn value(&self) -> Value {
        let (mut total, mut term) = (Number::ZERO, self.first);
        for &(operation, number) in &self.rest {
            let step = match operation {
                Operation::Plus | Operation::Minus => match total.plus(term) {
                    Some(sum) => {
                        total = sum;
                        Some(if operation == Operation::Plus { number } else { number.negative() })
                    }
                    None => None,
                },
                Operation::Times => term.times(number),
                Operation::Over if number.is_zero() => return Value::NoDivision,
                Operation::Over => term.over(number),
                Operation::PercentOf => term.times(number).and_then(|n| n.over(Number::whole(100))),
            };
            let Some(next) = step else { return Value::TooLarge };
            term = next;
        }
        match total.plus(term).filter(|sum| sum.digits().is_some()) {
            Some(sum) => Value::Number(sum),
            None => Value::TooLarge,
        }
    }
}

fn signed(tokens: &[Token]) -> Option<(Number, usize)> {
    match tokens {
        [Token::Number(number), ..] => Some((*number, 1)),
        [Token::Operation(Operation::Minus), Token::Number(number), ..] => Some((number.negative(), 2)),
        _ => None,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(Number),
    Operation(Operation),
    Other,
}

/// Cuts a question into words, figures, signs and single Chinese characters, in that spelling.
fn lexemes(question: &str) -> Vec<String> {
    let chars: Vec<char> = question.chars().collect();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = |i: usize| chars.get(i).copied().unwrap_or(' ');
        let start = at;
        at += 1;
        if c.is_ascii_digit() {
            while next(at).is_ascii_digit() || (matches!(next(at), '.' | ',') && next(at + 1).is_ascii_digit()) {
                // A comma belongs to the figure only before three digits: 1,000.
                let thousand = (1..=3).all(|i| next(at + i).is_ascii_digit()) && !next(at + 4).is_ascii_digit();
                if next(at) == ',' && !thousand {
                    break;
                }
                at += 1;
            }
            out.push(chars[start..at].iter().filter(|&&c| c != ',').collect());
        } else if c.is_ascii_alphabetic() {
            while next(at).is_ascii_alphabetic() {
                at += 1;
            }
            out.push(chars[start..at].iter().collect());
        } else if c == '-' && start > 0 && next(start - 1).is_ascii_alphabetic() && next(at).is_ascii_alphabetic() {
            // The hyphen of "twenty-one".
        } else if !c.is_whitespace() {
            out.push(c.to_string());
        }
    }
    out
}

fn tokens(question: &str) -> Vec<Token> {
    let lexemes = lexemes(question);
    let words: Vec<&str> = lexemes.iter().map(String::as_str).collect();
    // Single characters, others as a blank: numerals are read over them.
    let chars: Vec<char> =
        words.iter().map(|w| if w.chars().count() == 1 { w.chars().next().unwrap_or(' ') } else { ' ' }).collect();
    let mut tokens = Vec::new();
    let mut asked = None;
    let mut at = 0;
    while let Some(&word) = words.get(at) {
        let (token, used) = number_at(&words[at..], &chars[at..])
            .map(|(number, used)| (Token::Number(number), used))
            .or_else(|| operation_at(&words[at..], asked))
            .unwrap_or((Token::Other, 1));
        asked = match word {
            "multiply" | "product" => Some(Operation::Times),
            "divide" => Some(Operation::Over),
            "add" | "sum" => Some(Operation::Plus),
            _ => asked,
        };
        tokens.push(token);
        at += used.max(1);
    }
    tokens
}

fn number_at(words: &[&str], chars: &[char]) -> Option<(Number, usize)> {
    let word = words.first()?;
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let mut number = Number::read(word)?;
        let mut used = 1;
        if let Some((decimals, more)) = number::english_decimals(&words[1..]).filter(|_| !word.contains('.')) {
            number = Number::read(&format!("{word}.{decimals}"))?;
            used += more;
        }
        if let Some(scale) = words.get(used).and_then(|w| number::scale(w)) {
            return Some((number.times(Number::whole(scale))?, used + 1));
        }
        let (scale, more) = number::han_scale(&chars[used..]);
        return Some((number.times(Number::whole(scale))?, used + more));
    }
    match chars.first() {
        Some('负') => number::read_han(&chars[1..]).map(|(number, used)| (number.negative(), used + 1)),
        Some(&c) if number::begins_han(c) => number::read_han(chars),
        _ if *word == "negative" => number_at(&words[1..], &chars[1..]).map(|(n, used)| (n.negative(), used + 1)),
        _ => number::read_english(words),
    }
}

/// An operation at the front of `words`; `asked` is the one that a verb before has named, for its "and", "by" or "to".
fn operation_at(words: &[&str], asked: Option<Operation>) -> Option<(Token, usize)> {
    let (operation, used) = match words {
        ["divided" | "multiplied", "by", ..] => {
            (if words[0] == "divided" { Operation::Over } else { Operation::Times }, 2)
        }
        ["percent" | "%", "of", ..] => (Operation::PercentOf, 2),
        ["加" | "减" | "乘" | "除", "上" | "去" | "以", ..] => (sign(words[0])?, 2),
        ["and" | "by" | "to", ..] => (asked?, 1),
        [word, ..] => (sign(word)?, 1),
        [] => return None,
    };
    Some((Token::Operation(operation), used))
}

fn sign(word: &str) -> Option<Operation> {
    Some(match word {
        "+" | "＋" | "plus" | "加" => Operation::Plus,
        "-" | "－" | "−" | "–" | "minus" | "减" => Operation::Minus,
        "*" | "×" | "x" | "times" | "乘" => Operation::Times,
        "/" | "÷" | "over" | "divided" | "除" => Operation::Over,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_found_in_speech() {
        let cases = [
            ("what is twelve times three?", "36"),
            ("what's 3 + 4 * 5", "23"),
            ("20-8/2", "16"),
            ("how much is 1,000 plus 24?", "1024"),
            ("0.1 + 0.2", "0.3"),
            ("seven divided by two", "3.5"),
            ("twenty-one plus nine", "30"),
            ("what is 20 percent of 50", "10"),
            ("multiply six by seven", "42"),
            ("what is the sum of 8 and 9", "17"),
            ("two million plus 3", "2000003"),
            ("2.5 x 4", "10"),
            ("two point five times four", "10"),
            ("5 - -3", "8"),
            ("三加五等于几", "8"),
            ("十二乘以三是多少", "36"),
            ("一百减去一", "99"),
            ("三点五乘二等于多少？", "7"),
            ("3万加5", "30005"),
            ("9除以4", "2.25"),
            ("负三加五", "2"),
        ];
        for (question, expected) in cases {
            let sum = Sum::find(question).unwrap_or_else(|| panic!("no sum in {question}"));
            let Value::Number(number) = sum.value() else { panic!("{question}: {sum:?}") };
            assert_eq!(number.digits().unwrap().0, expected, "{question}");
        }
    }

    #[test]
    fn what_is_no_sum_is_left_alone() {
        for question in
            ["hello", "what is love", "tell me 3 jokes", "x", "twenty four seven", "三点了", "加油", "", "-", "1 plus"]
        {
            assert_eq!(Sum::find(question), None, "{question}");
        }
    }

    #[test]
    fn the_impossible_is_told_apart() {
        assert_eq!(Sum::find("5 / 0").unwrap().value(), Value::NoDivision);
        assert_eq!(Sum::find("999999999999999 + 1").unwrap().value(), Value::TooLarge);
        let tower = ["999999999999999999999999"; 9].join(" * ");
        assert_eq!(Sum::find(&tower).unwrap().value(), Value::TooLarge);
    }
}
