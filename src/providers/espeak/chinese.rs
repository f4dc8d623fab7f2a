//! Numbers as Mandarin says them: espeak-ng's Chinese voice loses the point of "25.5" and reads long digits badly.

const DIGITS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
/// Numbers longer than this are read digit by digit, as one reads a telephone number.
const LONGEST: usize = 12;

/// The text with every number in digits replaced by characters.
pub fn spell_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let is_negative = before.ends_with('-') && !before[..before.len() - 1].ends_with(char::is_alphanumeric);
        out.push_str(if is_negative { &before[..before.len() - 1] } else { before });
        let (number, after) = split_number(from);
        if is_negative {
            out.push('负');
        }
        match after.strip_prefix('%') {
            Some(after) => {
                out.push_str("百分之");
                speak(number, &mut out);
                rest = after;
            }
            None if after.starts_with('年') && number.len() == 4 => {
                out.extend(number.bytes().map(digit));
                rest = after;
            }
            None => {
                speak(number, &mut out);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Digits with at most one point that has digits behind it. `1,000` is one number, `3,4` is two.
fn split_number(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    while bytes.get(end) == Some(&b',') && digits(end + 1) == 3 {
        end += 4;
    }
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end += 1 + digits(end + 1);
    }
    text.split_at(end)
}

fn speak(number: &str, out: &mut String) {
    let plain: String = number.chars().filter(|c| *c != ',').collect();
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let is_code = whole.len() > LONGEST || (whole.len() > 1 && whole.starts_with('0'));
    if is_code {
        out.extend(whole.bytes().map(digit));
    } else {
        whole_number(whole.parse().unwrap_or(0), out);
    }
    if !fraction.is_empty() {
        out.push('点');
        out.extend(fraction.bytes().map(digit));
    }
}

fn whole_number(value: u64, out: &mut String) {
    if value == 0 {
        return out.push('零');
    }
    let mut is_first = true;
    let mut gap = false;
    for (unit, name) in [(100_000_000, "亿"), (10_000, "万"), (1, "")] {
        let part = value / unit % if unit == 100_000_000 { u64::MAX } else { 10_000 };
        if part == 0 {
            gap = !is_first;
            continue;
        }
        if !is_first && (gap || part < 1_000) {
            out.push('零');
        }
        up_to_9999(part, is_first, out);
        out.push_str(name);
        (is_first, gap) = (false, false);
    }
}

fn up_to_9999(value: u64, is_first: bool, out: &mut String) {
    let (mut said, mut gap) = (false, false);
    for (unit, name) in [(1_000, "千"), (100, "百"), (10, "十"), (1, "")] {
        let figure = (value / unit % 10) as usize;
        if figure == 0 {
            gap = said;
            continue;
        }
        if gap {
            out.push('零');
        }
        // Twelve is 十二, two hundred and twelve is 二百一十二.
        if !(figure == 1 && unit == 10 && !said && is_first) {
            out.push(DIGITS[figure]);
        }
        out.push_str(name);
        (said, gap) = (true, false);
    }
}

fn digit(byte: u8) -> char {
    DIGITS[usize::from(byte - b'0') % 10]
}

#[cfg(test)]
mod tests {
    use super::spell_numbers;

    #[test]
    fn numbers_are_said_as_in_mandarin() {
        for (text, said) in [
            ("0", "零"),
            ("7", "七"),
            ("10", "十"),
            ("12", "十二"),
            ("20", "二十"),
            ("101", "一百零一"),
            ("110", "一百一十"),
            ("212", "二百一十二"),
            ("1000", "一千"),
            ("1001", "一千零一"),
            ("1010", "一千零一十"),
            ("10000", "一万"),
            ("10001", "一万零一"),
            ("120000", "十二万"),
            ("1,234,567", "一百二十三万四千五百六十七"),
            ("100000000", "一亿"),
            ("100000001", "一亿零一"),
            ("25.5度", "二十五点五度"),
            ("-3度", "负三度"),
            ("50%", "百分之五十"),
            ("2026年", "二零二六年"),
            ("13800138000123", "一三八零零一三八零零零一二三"),
            ("007", "零零七"),
            ("3,4", "三,四"),
            ("第3.", "第三."),
            ("没有", "没有"),
        ] {
            assert_eq!(spell_numbers(text), said, "{text}");
        }
    }
}
