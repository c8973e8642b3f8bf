//! Floats as Go's strconv writes them. Pure.

/// `1.5e+06`: with so many digits behind the point, or with as many as it takes.
pub(in crate::watch::render::gotmpl) fn exponent(number: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return special(number);
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `1500000`: with so many digits behind the point, or with as many as it takes.
pub(super) fn decimal(number: f64, precision: Option<usize>) -> String {
    if !number.is_finite() {
        return special(number);
    }
    match precision {
        Some(precision) => format!("{number:.precision$}"),
        None => format!("{number}"),
    }
}

/// With an exponent if the number is large or small: `%g`.
pub(super) fn general(number: f64, precision: Option<usize>) -> String {
    if !number.is_finite() {
        return special(number);
    }
    let precision = precision.map(|digits| digits.max(1));
    let text = exponent(number, precision.map(|digits| digits - 1));
    let Some((mantissa, power)) = text.split_once('e') else {
        return text;
    };
    let digits = mantissa.trim_start_matches('-').replace('.', "");
    let digits = if number == 0.0 {
        ""
    } else {
        digits.trim_end_matches('0')
    };
    let count = i64::try_from(digits.len()).unwrap_or_default();
    let power: i64 = if number == 0.0 {
        -1
    } else {
        power.parse().unwrap_or_default()
    };
    let point = power + 1;
    let limit = match precision {
        None => SHORTEST,
        Some(precision) => {
            let precision = i64::try_from(precision).unwrap_or(i64::MAX);
            if precision > count && count >= point {
                count
            } else {
                precision
            }
        }
    };
    if power < -4 || power >= limit {
        return exponent(number, Some(usize::try_from(count - 1).unwrap_or_default()));
    }
    decimal(
        number,
        Some(usize::try_from(count - point).unwrap_or_default()),
    )
}

/// From which power of ten on a number without a precision has an exponent.
const SHORTEST: i64 = 6;

/// The sign, the mantissa as a whole number, and the power of two that it is multiplied by.
fn parts(number: f64) -> (&'static str, u64, i64) {
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let (power, fraction) = (number.to_bits() >> 52 & 0x7ff, number.to_bits() & FRACTION);
    let mantissa = u64::from(power != 0) << 52 | fraction;
    (sign, mantissa, power.max(1).cast_signed() - 1075)
}

const FRACTION: u64 = (1 << 52) - 1;

/// `6755399441055744p-52`: `%b`.
pub(super) fn binary(number: f64) -> String {
    let (sign, mantissa, power) = parts(number);
    format!("{sign}{mantissa}p{power:+}")
}

/// `0x1.8p+00`, `%x`: with so many digits behind the point, or with as many as it takes.
pub(super) fn hexadecimal(number: f64, precision: Option<usize>) -> String {
    let (sign, mut mantissa, mut power) = parts(number);
    // The first one stands before the point, and 52 bits behind it.
    let shift = mantissa.leading_zeros().saturating_sub(11) % 53;
    mantissa <<= shift;
    power = if mantissa == 0 {
        0
    } else {
        power + 52 - i64::from(shift)
    };
    if let Some(digits) = precision.filter(|digits| *digits < 13) {
        let dropped = 52 - 4 * digits;
        let (kept, rest) = (mantissa >> dropped, mantissa & ((1 << dropped) - 1));
        let up = rest | (kept & 1) > 1 << (dropped - 1);
        mantissa = (kept + u64::from(up)) << dropped;
        let carry = mantissa >> 53;
        power += carry.cast_signed();
        mantissa >>= carry;
    }
    let digits = format!("{:013x}", mantissa & FRACTION);
    let digits = match precision {
        Some(precision) => format!("{digits:0<precision$}")[..precision].to_owned(),
        None => digits.trim_end_matches('0').to_owned(),
    };
    let point = if digits.is_empty() { "" } else { "." };
    format!("{sign}0x{}{point}{digits}p{power:+03}", mantissa >> 52)
}

fn special(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number > 0.0 {
        "+Inf".to_owned()
    } else {
        "-Inf".to_owned()
    }
}
