//! Forgiving names: what somebody may have meant.

/// The name that is nearest to `wanted`, if any is near enough to be a slip of the keyboard.
pub fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = folded(wanted);
    names
        .map(|name| (strsim::jaro_winkler(&wanted, &folded(name)), name))
        .filter(|(similarity, _)| *similarity >= 0.8)
        // Among those the one with the fewest slips.
        .map(|(similarity, name)| (strsim::normalized_damerau_levenshtein(&wanted, &folded(name)), similarity, name))
        .max_by(|left, right| left.0.total_cmp(&right.0).then(left.1.total_cmp(&right.1)))
        .map(|(_, _, name)| name)
}

/// A name without case and separators: `ResNet-50`, `resnet_50` and `resnet50` are one.
pub fn folded(name: &str) -> String {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name() {
        let names = ["resnet18", "vit_b_16", "gpt2"];
        assert_eq!(nearest("resent18", names.into_iter()), Some("resnet18"));
        assert_eq!(nearest("ViT-B-16", names.into_iter()), Some("vit_b_16"));
    }

    #[test]
    fn something_else_finds_nothing() {
        assert_eq!(nearest("yolo", ["resnet18", "gpt2"].into_iter()), None);
    }
}
