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

fn special(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number > 0.0 {
        "+Inf".to_owned()
    } else {
        "-Inf".to_owned()
    }
}
