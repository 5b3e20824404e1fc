//! How a picture becomes the input of an image classifier, as those who trained the network published it.

/// The pre-processing of an image classifier: scale the shorter side to `resize` pixels (bilinear, with antialiasing),
/// cut the `crop` x `crop` pixels in the middle, scale the values to [0, 1], and normalise every channel:
/// (value - mean) / std. The channels are red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    resize: usize,
    crop: usize,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Preprocessing {
    /// torchvision's `ImageClassification` preset with its default sizes, which is that of the `IMAGENET1K_V1` weights:
    /// 256, 224, and the mean and standard deviation of ImageNet.
    pub const IMAGENET: Self = Self { resize: 256, crop: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// CIFAR-10: the pictures as they are, with the mean and the standard deviation of each channel over all pixels of
    /// the 50 000 training pictures. Pictures of another size are brought to 32 x 32 first.
    pub const CIFAR10: Self =
        Self { resize: 32, crop: 32, mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616] };

    /// The pre-processing that was published for a model, by its canonical name; `None` for one that does not sort
    /// pictures into classes, or that nobody knows.
    pub fn published(model: &str) -> Option<Self> {
        match model {
            "cifar_cnn" => Some(Self::CIFAR10),
            "mobilenet_v2" | "resnet18" | "resnet50" | "vit_b_16" => Some(Self::IMAGENET),
            _ => None,
        }
    }

    /// The shorter side after scaling, in pixels; at least [`Self::crop`].
    pub fn resize(&self) -> usize {
        self.resize
    }

    /// Height and width of what the network sees, in pixels.
    pub fn crop(&self) -> usize {
        self.crop
    }

    /// What a channel's value (0 to 255) becomes.
    pub fn normalise(&self, channel: usize, value: u8) -> f32 {
        (f32::from(value) / 255.0 - self.mean[channel]) / self.std[channel]
    }

    /// The value (0 to 255) that is nearest to what a channel's normalised value stands for.
    pub fn denormalise(&self, channel: usize, value: f32) -> u8 {
        // A cast stays within 0 and 255.
        ((value * self.std[channel] + self.mean[channel]) * 255.0).round() as u8
    }

    /// The shape of one sample: `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        [3, self.crop, self.crop]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_are_the_ends_of_the_published_range() {
        // torchvision's Normalize on 0.0 and 1.0.
        let imagenet = Preprocessing::IMAGENET;
        assert_eq!(imagenet.normalise(0, 0), -2.117_904);
        assert_eq!(imagenet.normalise(2, 255), 2.64);
        assert!(Preprocessing::CIFAR10.normalise(0, 125).abs() < 0.01);
    }

    #[test]
    fn every_value_comes_back() {
        for preprocessing in [Preprocessing::IMAGENET, Preprocessing::CIFAR10] {
            for channel in 0..3 {
                let back = |value| preprocessing.denormalise(channel, preprocessing.normalise(channel, value));
                assert!((0..=255).all(|value| back(value) == value));
            }
            assert_eq!([preprocessing.denormalise(0, 99.0), preprocessing.denormalise(1, -99.0)], [255, 0]);
        }
    }

    #[test]
    fn what_sees_no_picture_alone_has_none() {
        assert_eq!(Preprocessing::published("resnet50"), Some(Preprocessing::IMAGENET));
        assert_eq!(Preprocessing::published("gpt2"), None);
    }
}
