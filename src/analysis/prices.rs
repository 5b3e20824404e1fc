//! What an hour of a device costs: `data/prices.csv`, or a table of the user's own with the same columns.

use serde::Deserialize;

/// One row of a price list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Price {
    /// Part of a device's name.
    pub device: String,
    /// US dollars an hour of one device.
    pub usd_per_hour: f64,
    /// Who asks for that, and for what.
    #[serde(default)]
    pub source: String,
    /// When that was the price.
    #[serde(default)]
    pub as_of: String,
}

/// The list that comes with benchdb.
pub fn built_in_prices() -> Vec<Price> {
    // The file is compiled in, and a test reads every row.
    read_prices(include_str!("../../data/prices.csv")).unwrap_or_default()
}

/// A price list in CSV with the columns `device` and `usd_per_hour`, and `source` and `as_of` where they are known.
///
/// # Errors
/// A sentence with the line that cannot be read.
pub fn read_prices(text: &str) -> Result<Vec<Price>, String> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut prices = Vec::new();
    for row in reader.deserialize::<Price>() {
        let price = row.map_err(|error| error.to_string())?;
        if price.device.is_empty() || !price.usd_per_hour.is_finite() || price.usd_per_hour <= 0.0 {
            return Err(format!("the device `{}` has the price {}", price.device, price.usd_per_hour));
        }
        prices.push(price);
    }
    if prices.is_empty() {
        return Err("it holds no price".to_owned());
    }
    Ok(prices)
}

/// The price of a device: the row with the longest name that stands in the device's as a word of its own (an L40S is no
/// L4).
pub fn find_price<'p>(prices: &'p [Price], device: &str) -> Option<&'p Price> {
    let name = device.to_lowercase();
    let is_part = |price: &&Price| {
        name.match_indices(&price.device.to_lowercase()).any(|(start, part)| {
            let goes_on = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
            !goes_on(name[..start].chars().next_back()) && !goes_on(name[start + part.len()..].chars().next())
        })
    };
    prices.iter().filter(is_part).max_by_key(|price| price.device.len())
}

/// US dollars for a million samples: price an hour over samples an hour.
pub fn cost_per_million(usd_per_hour: f64, samples_per_second: f64) -> f64 {
    usd_per_hour * 1e6 / (samples_per_second * 3600.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_of_the_list_has_a_source_and_a_date() {
        let lines = include_str!("../../data/prices.csv").lines().filter(|line| !line.starts_with('#')).count();
        let prices = built_in_prices();
        assert_eq!(prices.len(), lines - 1);
        assert!(prices.iter().all(|price| !price.source.is_empty() && !price.as_of.is_empty()));
    }

    #[test]
    fn the_longest_name_wins() {
        let prices = read_prices("device,usd_per_hour\nA100,3\nNVIDIA A100-SXM4-80GB,4\nL4,1\n").unwrap();
        assert_eq!(find_price(&prices, "NVIDIA A100-SXM4-40GB").unwrap().usd_per_hour, 3.0);
        assert_eq!(find_price(&prices, "NVIDIA A100-SXM4-80GB").unwrap().usd_per_hour, 4.0);
        assert_eq!(find_price(&prices, "NVIDIA L40S"), None);
        assert_eq!(find_price(&prices, "RTX 4090"), None);
    }

    #[test]
    fn a_million_samples_at_a_thousand_a_second_take_a_thousand_seconds() {
        assert!((cost_per_million(3.6, 1000.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_price_of_nothing_is_no_price() {
        assert!(read_prices("device,usd_per_hour\nA10,0\n").is_err());
        assert!(read_prices("device,usd_per_hour\n").is_err());
        assert!(read_prices("name,price\nx,1\n").is_err());
    }
}
