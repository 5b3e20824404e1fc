//! Which card of the machine is the one that does the work: an engine names a card, sensors name a card, and the names
//! may fit several. A wrong card's power would be a wrong measurement, so where it cannot be known there is none.

use super::SensorNotice;
use crate::domain::{Device, Platform};

/// Names the card by its PCI address where nothing else can: `0000:3b:00.0`.
pub(super) const CARD_VARIABLE: &str = "BENCHDB_GPU_PCI";

/// A card as the source of its sensors sees it. Lists of them are in the order of their PCI addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Card {
    /// Its name; the vendor's where the source knows no more.
    pub name: String,
    /// Its PCI address.
    pub pci: String,
    /// NVIDIA's identifier, `GPU-...`; empty elsewhere.
    pub uuid: String,
}

/// What the engine and the user say of the card that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted<'w> {
    /// The name that the engine knows it by.
    pub name: &'w str,
    /// Its maker; empty where unknown.
    pub vendor: &'w str,
    /// How the engine reaches it.
    pub platform: Platform,
    /// Its place among the devices that the engine sees there.
    pub index: usize,
    /// The user's word, from [`CARD_VARIABLE`].
    pub pci: Option<String>,
    /// `CUDA_VISIBLE_DEVICES`: what CUDA's indices count.
    pub cuda_visible: Option<String>,
    /// `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`.
    pub cuda_by_pci: bool,
}

impl<'w> Wanted<'w> {
    /// The same, with what the environment of this process says.
    pub(super) fn from_environment(device: &'w Device, platform: Platform, index: u32) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
        Self {
            name: &device.name,
            vendor: &device.vendor,
            platform,
            index: index as usize,
            pci: variable(CARD_VARIABLE),
            cuda_visible: variable("CUDA_VISIBLE_DEVICES"),
            cuda_by_pci: variable("CUDA_DEVICE_ORDER").is_some_and(|order| order == "PCI_BUS_ID"),
        }
    }
}

/// The place in `cards` of the card that is wanted; `None` if none of them can be it.
///
/// # Errors
/// Several can be it, or the user named one that is not there.
pub(super) fn choose(cards: &[Card], wanted: &Wanted<'_>) -> Result<Option<usize>, SensorNotice> {
    let fitting = |fits: fn(&str, &str) -> bool| -> Vec<usize> {
        (0..cards.len()).filter(|&card| fits(&cards[card].name, wanted.name)).collect()
    };
    // `RTX 4080` is the beginning of `RTX 4080 SUPER`: the whole name comes first.
    let exactly = fitting(|card, wanted| card.eq_ignore_ascii_case(wanted));
    let alike = if exactly.is_empty() { fitting(is_named) } else { exactly };
    if let (Some(pci), false) = (&wanted.pci, alike.is_empty()) {
        let named = alike.iter().copied().find(|&card| same_address(&cards[card].pci, pci));
        return match named {
            Some(card) => Ok(Some(card)),
            None => Err(SensorNotice {
                cause: format!("the GPU's sensors are not read: no {} has the address `{pci}`", wanted.name),
                way_out: format!("{CARD_VARIABLE} takes one of {}", addresses(cards, &alike)),
            }),
        };
    }
    match (alike.as_slice(), wanted.platform) {
        ([], _) => Ok(None),
        ([only], _) => Ok(Some(*only)),
        (_, Platform::Cuda) => by_cuda_index(cards, &alike, wanted).map_or_else(|| Err(unclear(cards, &alike)), Ok),
        _ => Err(unclear(cards, &alike)),
    }
}

/// CUDA counts from the fastest card unless it is told to count by address; among cards that are all alike the order is
/// that of their addresses.
fn by_cuda_index(cards: &[Card], alike: &[usize], wanted: &Wanted<'_>) -> Option<Option<usize>> {
    let entry = match &wanted.cuda_visible {
        Some(visible) => visible.split(',').nth(wanted.index)?.trim().to_owned(),
        None => wanted.index.to_string(),
    };
    let card = match entry.parse::<usize>() {
        Ok(index) if wanted.cuda_by_pci || alike.len() == cards.len() => Some(index),
        Ok(_) => None,
        // CUDA takes the beginning of an identifier too, if it fits one card alone.
        Err(_) => {
            let mut fitting = alike.iter().copied().filter(|&card| cards[card].uuid.starts_with(&entry));
            fitting.next().filter(|_| fitting.next().is_none())
        }
    };
    card.filter(|card| alike.contains(card)).map(Some)
}

/// One name may carry more than the other: `GeForce RTX 4090` and `NVIDIA GeForce RTX 4090`, `AMD` and `AMD Radeon RX
/// 7900 XTX (RADV NAVI31)`. A card whose name is only a vendor's fits every card of the vendor.
fn is_named(card: &str, wanted: &str) -> bool {
    let words = |name: &str| {
        let lower = name.to_lowercase();
        let words: Vec<String> = lower
            .split(|sign: char| !sign.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        words
    };
    let (card, wanted) = (words(card), words(wanted));
    let begins_or_ends = |long: &[String], short: &[String]| long.starts_with(short) || long.ends_with(short);
    !card.is_empty()
        && !wanted.is_empty()
        && (begins_or_ends(&wanted, &card) || wanted.len() > 1 && begins_or_ends(&card, &wanted))
}

/// Drivers write the domain with four digits or with eight, in small letters or large ones.
fn same_address(one: &str, other: &str) -> bool {
    let parts = |address: &str| {
        let lower = address.trim().to_lowercase();
        let (domain, rest) = lower.split_once(':')?;
        Some((u32::from_str_radix(domain, 16).ok()?, rest.to_owned()))
    };
    parts(one).is_some_and(|one| parts(other) == Some(one))
}

fn unclear(cards: &[Card], alike: &[usize]) -> SensorNotice {
    let name = alike.first().map_or("", |&card| cards[card].name.as_str());
    SensorNotice {
        cause: format!(
            "the GPU's sensors are not read: {} cards are called `{name}`, and which one works is not told",
            alike.len()
        ),
        way_out: format!("set {CARD_VARIABLE} to its address, one of {}", addresses(cards, alike)),
    }
}

fn addresses(cards: &[Card], alike: &[usize]) -> String {
    alike.iter().map(|&card| cards[card].pci.to_lowercase()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(names: &[&str]) -> Vec<Card> {
        let card = |(index, name): (usize, &&str)| Card {
            name: (*name).to_owned(),
            pci: format!("00000000:{:02X}:00.0", 0x3a + index),
            uuid: format!("GPU-{index}abc-def"),
        };
        names.iter().enumerate().map(card).collect()
    }

    fn wanted(name: &str, platform: Platform, index: usize) -> Wanted<'_> {
        Wanted { name, vendor: "", platform, index, pci: None, cuda_visible: None, cuda_by_pci: false }
    }

    #[test]
    fn the_only_card_of_the_name_is_it() {
        let machine = cards(&["NVIDIA A2", "NVIDIA GeForce RTX 4090"]);
        for name in ["GeForce RTX 4090", "NVIDIA GeForce RTX 4090", "nvidia geforce rtx 4090"] {
            assert_eq!(choose(&machine, &wanted(name, Platform::Vulkan, 5)), Ok(Some(1)), "{name}");
        }
        let series = cards(&["NVIDIA GeForce RTX 4080 SUPER", "NVIDIA GeForce RTX 4080"]);
        assert_eq!(choose(&series, &wanted("NVIDIA GeForce RTX 4080", Platform::Vulkan, 0)), Ok(Some(1)));
        assert_eq!(choose(&machine, &wanted("NVIDIA A", Platform::Cuda, 0)), Ok(None));
        assert_eq!(choose(&machine, &wanted("llvmpipe", Platform::Vulkan, 0)), Ok(None));
        assert_eq!(choose(&machine, &wanted("", Platform::Vulkan, 0)), Ok(None));
        assert_eq!(choose(&cards(&["NVIDIA A2 16G"]), &wanted("NVIDIA", Platform::Cuda, 0)), Ok(None));
    }

    #[test]
    fn a_vendor_fits_each_of_its_cards() {
        let name = "AMD Radeon RX 7900 XTX (RADV NAVI31)";
        assert_eq!(choose(&cards(&["AMD", "Intel"]), &wanted(name, Platform::Vulkan, 0)), Ok(Some(0)));
        let notice = choose(&cards(&["AMD", "AMD"]), &wanted(name, Platform::Vulkan, 0)).unwrap_err();
        assert!(notice.to_string().contains("00000000:3a:00.0, 00000000:3b:00.0"), "{notice}");
        assert!(notice.to_string().contains(CARD_VARIABLE), "{notice}");
    }

    #[test]
    fn the_users_word_decides() {
        let machine = cards(&["NVIDIA H200", "NVIDIA H200"]);
        let named = |pci: &str| {
            choose(&machine, &Wanted { pci: Some(pci.to_owned()), ..wanted("NVIDIA H200", Platform::Vulkan, 0) })
        };
        assert_eq!(named("0000:3b:00.0"), Ok(Some(1)));
        assert!(named("0000:99:00.0").is_err());
        // A word about another vendor's card is none about these.
        let other = Wanted { pci: Some("0000:99:00.0".to_owned()), ..wanted("Intel Arc A770", Platform::Vulkan, 0) };
        assert_eq!(choose(&machine, &other), Ok(None));
    }

    #[test]
    fn cuda_counts_cards_that_are_alike_by_address() {
        let machine = cards(&["NVIDIA H200", "NVIDIA H200", "NVIDIA H200"]);
        let cuda = |index, visible: Option<&str>| {
            choose(
                &machine,
                &Wanted { cuda_visible: visible.map(str::to_owned), ..wanted("NVIDIA H200", Platform::Cuda, index) },
            )
        };
        assert_eq!(cuda(2, None), Ok(Some(2)));
        assert_eq!(cuda(1, Some("2, 0")), Ok(Some(0)));
        assert_eq!(cuda(0, Some("GPU-1a")), Ok(Some(1)));
        assert!(cuda(0, Some("GPU-")).is_err(), "it fits all");
        assert!(cuda(3, None).is_err());
        assert!(cuda(1, Some("2")).is_err());
        assert!(choose(&machine, &wanted("NVIDIA H200", Platform::Vulkan, 1)).is_err());
    }

    #[test]
    fn cuda_counts_different_cards_by_speed_unless_told() {
        let machine = cards(&["NVIDIA A2", "NVIDIA H200", "NVIDIA H200"]);
        let mut cuda = wanted("NVIDIA H200", Platform::Cuda, 1);
        assert!(choose(&machine, &cuda).is_err());
        cuda.cuda_by_pci = true;
        assert_eq!(choose(&machine, &cuda), Ok(Some(1)));
        cuda.index = 0;
        assert!(choose(&machine, &cuda).is_err(), "the first by address is another card");
    }
}
