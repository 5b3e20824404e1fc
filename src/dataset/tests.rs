//! Whole sets: what is taken, in which order, and what is refused.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;

use super::*;
use crate::domain::LabelledBatch;
use crate::domain::text::one_line;
use crate::domain::{HostData, HostTensor};

/// The folder `fixtures/data`.
pub(super) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data")
}

fn cifar(split: Split) -> Requirements {
    Requirements::of_model("cifar_cnn", &[3, 32, 32], 10, split).unwrap()
}

fn of_classes(labels: usize) -> Requirements {
    Requirements { labels, ..cifar(Split::Test) }
}

fn test_set(name: &str) -> Dataset {
    open(&fixtures().join(name), &cifar(Split::Test)).unwrap()
}

fn png(path: &Path, value: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(2, 2, image::Rgb([value; 3])).save_with_format(path, image::ImageFormat::Png).unwrap();
}

/// A folder with these pictures, each of one shade.
fn folder(pictures: &[(&str, u8)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, value) in pictures {
        png(&folder.path().join(path), *value);
    }
    folder
}

fn values(tensor: &HostTensor) -> &[f32] {
    let HostData::F32(values) = &tensor.data else { panic!("images are floats") };
    values
}

/// The shade of every sample of a set of evenly coloured pictures, as it was before pre-processing.
fn shades(set: &Dataset) -> Vec<u8> {
    let table: HashMap<u32, u8> =
        (0..=255).map(|value| (Preprocessing::CIFAR10.normalise(0, value).to_bits(), value)).collect();
    set.batches(2)
        .flat_map(|batch| {
            let image = batch.unwrap().image;
            let length = 3 * 32 * 32;
            values(&image).chunks(length).map(|sample| table[&sample[0].to_bits()]).collect::<Vec<_>>()
        })
        .collect()
}

/// What is said of a set that cannot be opened, and the way out.
fn refused(path: &Path, requirements: &Requirements) -> String {
    let error = open(path, requirements).unwrap_err();
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
    one_line(&error).replace(&path.display().to_string(), "SET")
}

#[test]
fn the_three_formats_hold_the_same_samples() {
    let sets = ["shapes10", "shapes10-binary", "shapes10.npz"].map(test_set);
    assert_eq!(sets.each_ref().map(Dataset::format), [Format::ImageFolder, Format::Cifar10, Format::Npz]);
    let all = sets.each_ref().map(|set| set.batches(80).next().unwrap().unwrap());
    assert_eq!(all[0].image.shape, [80, 3, 32, 32]);
    assert_eq!(all[0].image.name, "image");
    assert_eq!(all[0].labels, (0..80).map(|sample| sample / 8).collect::<Vec<_>>());
    assert!(all[0] == all[1] && all[1] == all[2]);
    assert_eq!(sets[0].class_names()[4], "moon");
    assert_eq!(sets[1].class_names(), sets[0].class_names());
    assert!(sets[2].class_names().is_empty());
    assert_eq!(sets[0].classes(), 10);
}

#[test]
fn batches_cover_the_set_once_and_the_last_may_be_smaller() {
    let set = test_set("shapes10-binary");
    let batches: Vec<LabelledBatch> = set.batches(32).map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.image.shape[0]).collect::<Vec<_>>(), [32, 32, 16]);
    let whole = set.batches(80).next().unwrap().unwrap();
    let joined: Vec<f32> = batches.iter().flat_map(|batch| values(&batch.image).to_vec()).collect();
    assert_eq!(joined, values(&whole.image));
    assert_eq!(set.batches(32).size_hint(), (1, Some(3)));
    assert_eq!(set.batches(0).count(), 80);
    assert_eq!(set.batches(usize::MAX).count(), 1);
}

#[test]
fn timed_batches_go_round_the_set() {
    let folder = folder(&[("a/1.png", 10), ("a/2.png", 20), ("b/1.png", 30)]);
    let set = open(folder.path(), &of_classes(2)).unwrap();
    assert_eq!(set.cyclic_batch(0, 2).unwrap().labels, [0, 0]);
    let round = set.cyclic_batch(2, 5).unwrap();
    assert_eq!(round.labels, [1, 0, 0, 1, 0]);
    assert_eq!(round.image.shape, [5, 3, 32, 32]);
    assert_eq!(set.cyclic_batch(3 * 1000 + 2, 1).unwrap().labels, [1]);
}

#[test]
fn pictures_come_as_in_torchvision() {
    // By class; in a class the folders in the order of their paths, then the names; capitals before small letters. The
    // order is what torchvision 0.29.2 gives for this tree.
    let folder = folder(&[
        ("b/z.png", 8),
        ("a/x/2.png", 5),
        ("a/x/a/1.png", 7),
        ("a/x-y/1.png", 6),
        ("a/2.png", 3),
        ("a/10.PNG", 2),
        ("a/Z.JPEG.png", 4),
        ("B/1.png", 1),
        (".hidden/1.png", 99),
        ("a/.2.png", 99),
    ]);
    fs::write(folder.path().join("a/notes.txt"), "no picture").unwrap();
    fs::write(folder.path().join("labels.csv"), "no picture").unwrap();
    png(&folder.path().join("stray.png"), 99);
    let set = open(folder.path(), &of_classes(3)).unwrap();
    assert_eq!(shades(&set), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(set.labels(), [0, 1, 1, 1, 1, 1, 1, 2]);
    assert_eq!(set.class_names(), ["B", "a", "b"]);
    assert_eq!(set.notes(), ["other files left out: 3"]);
}

#[test]
fn folders_with_numbers_for_names_are_classes_by_number() {
    let folder = folder(&[("10/1.png", 3), ("2/1.png", 2), ("007/1.png", 1), ("0/1.png", 0)]);
    fs::remove_dir_all(folder.path().join("0")).unwrap();
    let set = open(folder.path(), &of_classes(11)).unwrap();
    assert_eq!(set.labels(), [2, 7, 10]);
    assert_eq!(shades(&set), [2, 1, 3]);
    assert!(set.class_names().is_empty());
    assert_eq!(set.classes(), 3);
    let wrong = refused(folder.path(), &of_classes(10));
    assert_eq!(wrong, "the folder `10` in `SET` has the class 10, the model has the classes 0 to 9");
    png(&folder.path().join("07/1.png"), 0);
    let twice = refused(folder.path(), &of_classes(11));
    assert_eq!(twice, "the folders `007` and `07` in `SET` are both class 7");
}

#[test]
fn a_set_in_parts_gives_the_part_that_is_wanted() {
    let of = |split| open(&fixtures().join("shapes10"), &cifar(split)).unwrap();
    assert_eq!((of(Split::Test).samples(), of(Split::Train).samples()), (80, 200));
    assert!(of(Split::Train).notes()[0].ends_with("shapes10/train` was taken"));
    let folder = folder(&[("train/a/1.png", 1), ("Val/a/1.png", 2)]);
    assert_eq!(shades(&open(folder.path(), &of_classes(1)).unwrap()), [2]);
    fs::remove_dir_all(folder.path().join("Val")).unwrap();
    assert_eq!(refused(folder.path(), &of_classes(1)), "`SET` has no test part, it has `train`");
    // A part itself is a set without parts.
    assert_eq!(shades(&open(&folder.path().join("train"), &of_classes(1)).unwrap()), [1]);
}

#[test]
fn folders_that_are_no_set_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    let unknown = "`SET` is no test set: neither class folders with pictures, nor CIFAR-10's binary files, nor an .npz";
    assert_eq!(refused(empty.path(), &of_classes(2)), unknown);
    fs::create_dir(empty.path().join("cat")).unwrap();
    fs::write(empty.path().join("cat/notes.txt"), "none").unwrap();
    assert_eq!(refused(empty.path(), &of_classes(1)), "`SET` holds no sample");
    let flat = folder(&[("1.png", 1)]);
    assert_eq!(refused(flat.path(), &of_classes(1)), "`SET` holds pictures but no class folders");
    let absent = refused(&flat.path().join("absent"), &of_classes(1));
    assert!(absent.starts_with("cannot read `SET`: No such file"), "{absent}");
    let four = folder(&[("ant/1.png", 1), ("bee/1.png", 1), ("cat/1.png", 1), ("dog/1.png", 1)]);
    let wrong = refused(four.path(), &of_classes(10));
    assert_eq!(wrong, "`SET` has 4 classes (`ant`, `bee`, `cat`, ...), the model has 10");
}

#[test]
fn a_class_folder_without_pictures_still_counts_as_a_class() {
    let folder = folder(&[("a/1.png", 1), ("c/1.png", 3)]);
    fs::create_dir(folder.path().join("b")).unwrap();
    let set = open(folder.path(), &of_classes(3)).unwrap();
    assert_eq!(set.labels(), [0, 2]);
    assert_eq!(set.notes(), ["it has samples of 2 of the model's 3 classes"]);
}

#[test]
fn a_broken_picture_is_named_and_ends_the_batches() {
    let folder = folder(&[("a/1.png", 1), ("a/2.png", 1), ("a/3.png", 1), ("a/4.png", 1)]);
    fs::write(folder.path().join("a/2.png"), "").unwrap();
    fs::write(folder.path().join("a/3.png"), "GIF89a").unwrap();
    let set = open(folder.path(), &of_classes(1)).unwrap();
    // Both are in the batch; the first one is named, always.
    for _ in 0..20 {
        let mut batches = set.batches(4);
        let error = batches.next().unwrap().unwrap_err();
        let text = one_line(&error);
        assert!(text.ends_with("2.png` cannot be used: the file is empty"), "{text}");
        assert_eq!(error.hint().unwrap(), "remove or replace it");
        assert!(batches.next().is_none());
    }
    assert_eq!(set.batches(1).filter(Result::is_ok).count(), 1);
    let gif = one_line(&set.cyclic_batch(2, 1).unwrap_err());
    assert!(gif.contains("3.png` cannot be used: "), "{gif}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let set = folder(&[("a/1.png", 1)]);
    let elsewhere = folder(&[("x/2.png", 2)]);
    symlink(elsewhere.path().join("x"), set.path().join("b")).unwrap();
    assert_eq!(shades(&open(set.path(), &of_classes(2)).unwrap()), [1, 2]);
    symlink(set.path(), set.path().join("a/up")).unwrap();
    assert_eq!(refused(set.path(), &of_classes(2)), "`SET/a/up` links back to a folder that it lies in");
    fs::remove_file(set.path().join("a/up")).unwrap();
    symlink("nowhere", set.path().join("a/nowhere.png")).unwrap();
    let error = open(set.path(), &of_classes(2)).unwrap().cyclic_batch(1, 1).unwrap_err();
    assert!(one_line(&error).contains("nowhere.png`: No such file"), "{error}");
}

#[cfg(unix)]
#[test]
fn what_would_never_end_is_not_opened() {
    let wrong = refused(Path::new("/dev/zero"), &of_classes(10));
    assert!(wrong.starts_with("`SET` is no test set"), "{wrong}");
    let set = folder(&[("a/1.png", 1)]);
    std::os::unix::fs::symlink("/dev/zero", set.path().join("a/2.png")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(set.path().join("a/3.png")).unwrap();
    let set = open(set.path(), &of_classes(1)).unwrap();
    assert_eq!(shades(&set), [1]);
    assert_eq!(set.notes(), ["other files left out: 2"]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let set = folder(&[("a/1.png", 1)]);
    let class = set.path().join("a");
    fs::set_permissions(&class, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&class).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    let text = refused(set.path(), &of_classes(1));
    fs::set_permissions(&class, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(text.starts_with("cannot read `SET/a`: Permission denied"), "{text}");
}

/// Records of the given classes, every byte of a picture being its number.
fn records(labels: &[u8]) -> Vec<u8> {
    let record = |(index, label): (usize, &u8)| [&[*label][..], &[index as u8; 3072]].concat();
    labels.iter().enumerate().flat_map(record).collect()
}

#[test]
fn binary_batches_are_taken_by_part_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("cifar-10-batches-bin");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("data_batch_10.bin"), records(&[3])).unwrap();
    fs::write(inner.join("data_batch_2.bin"), records(&[1, 2])).unwrap();
    fs::write(inner.join("data_batch_x.bin"), "not of the set").unwrap();
    let of = |split| open(folder.path(), &cifar(split));
    let whole = of(Split::Test).unwrap();
    assert_eq!(whole.labels(), [1, 2, 3]);
    assert_eq!(shades(&whole), [0, 1, 0]);
    let classes = "it has samples of 3 of the model's 10 classes";
    assert_eq!(whole.notes(), ["taken from data_batch_2.bin, data_batch_10.bin", classes]);
    fs::write(inner.join("test_batch.bin"), records(&[9])).unwrap();
    assert_eq!(of(Split::Test).unwrap().labels(), [9]);
    assert_eq!(of(Split::Train).unwrap().labels(), [1, 2, 3]);
    let single = open(&inner.join("data_batch_2.bin"), &cifar(Split::Test)).unwrap();
    assert_eq!(single.labels(), [1, 2]);
    for batch in ["data_batch_10.bin", "data_batch_2.bin"] {
        fs::remove_file(inner.join(batch)).unwrap();
    }
    assert!(matches!(of(Split::Train), Err(DatasetError::NoSplit { wanted: "train", .. })));
}

#[test]
fn binary_batches_that_are_broken_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test_batch.bin");
    let write = |bytes: &[u8]| fs::write(&path, bytes).unwrap();
    write(&records(&[1, 2])[..5000]);
    let truncated = "`SET` has 5000 bytes, which is no whole number of CIFAR-10's records of 3073 bytes";
    assert_eq!(refused(&path, &of_classes(10)), truncated);
    write(&records(&[1, 10]));
    let label = "record 1 in `SET` has the class 10, the model has the classes 0 to 9";
    assert_eq!(refused(&path, &of_classes(10)), label);
    write(b"");
    assert_eq!(refused(&path, &of_classes(10)), "`SET` holds no sample");
    write(&records(&[1]));
    let classes = refused(folder.path(), &of_classes(1000));
    assert_eq!(classes, "`SET` has 10 classes (...), the model has 1000");
    let set = open(&path, &of_classes(10)).unwrap();
    write(&records(&[1])[..100]);
    let error = set.batches(1).next().unwrap().unwrap_err();
    assert!(matches!(error, DatasetError::Read { .. }), "{error}");
}

#[test]
fn files_that_are_no_set_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    for content in [&b""[..], b"hello", b"\x93NUMPY"] {
        fs::write(&path, content).unwrap();
        assert!(refused(&path, &of_classes(10)).starts_with("`SET` is no test set"));
    }
    fs::write(&path, b"PK\x03\x04 broken").unwrap();
    assert!(refused(&path, &of_classes(10)).starts_with("cannot read the archive `SET`: "));
}

/// A .npy in version 1.0 of its format.
fn npy(dtype: &str, shape: &str, fortran: bool, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}");
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// An archive in `folder`.
fn npz(folder: &Path, packed: bool, arrays: &[(&str, Vec<u8>)]) -> PathBuf {
    let path = folder.join("set.npz");
    let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, content) in arrays {
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap();
    path
}

#[test]
fn archives_are_read_packed_or_not_planes_or_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let labels = ("labels", npy("|u1", "(2,)", false, &[4, 0]));
    // Two pictures of 2 x 4 pixels: red 10, green 20, blue 30; then 40, 50, 60.
    let planes: Vec<u8> = [10, 20, 30, 40, 50, 60].iter().flat_map(|value| [*value; 8]).collect();
    let pixels: Vec<u8> = [[10, 20, 30].repeat(8), [40, 50, 60].repeat(8)].concat();
    let planes = npy("|u1", "(2, 3, 2, 4)", false, &planes);
    let pixels = npy("|u1", "(2, 2, 4, 3)", false, &pixels);
    let expected = |channel, sample: u8| Preprocessing::CIFAR10.normalise(channel, [10, 20, 30][channel] + 30 * sample);
    for (packed, images) in [(false, &planes), (true, &planes), (false, &pixels), (true, &pixels)] {
        let path = npz(folder.path(), packed, &[("images", images.clone()), labels.clone()]);
        let set = open(&path, &of_classes(5)).unwrap();
        assert_eq!(set.labels(), [4, 0]);
        let batch = set.cyclic_batch(1, 2).unwrap();
        assert_eq!(batch.labels, [0, 4]);
        for (plane, value) in values(&batch.image).chunks(32 * 32).enumerate() {
            let wanted = expected(plane % 3, 1 - (plane / 3) as u8);
            assert!(value.iter().all(|value| *value == wanted), "plane {plane}");
        }
    }
}

#[test]
fn floats_are_taken_as_they_are_if_pre_processing_can_make_them() {
    let folder = tempfile::tempdir().unwrap();
    let floats =
        |value: f32| -> Vec<u8> { [0.5, value].iter().flat_map(|v| v.to_le_bytes()).cycle().take(3072 * 4).collect() };
    let archive = |value| {
        let images = npy("<f4", "(1, 3, 32, 32)", false, &floats(value));
        npz(folder.path(), false, &[("labels", npy("<i4", "(1,)", false, &7_i32.to_le_bytes())), ("images", images)])
    };
    let batch = open(&archive(-1.25), &of_classes(10)).unwrap().cyclic_batch(0, 1).unwrap();
    assert_eq!(values(&batch.image)[..4], [0.5, -1.25, 0.5, -1.25]);
    assert_eq!(batch.labels, [7]);
    for impossible in [255.0, f32::NAN, f32::NEG_INFINITY] {
        let set = open(&archive(impossible), &of_classes(10)).unwrap();
        let error = set.cyclic_batch(0, 1).unwrap_err();
        assert!(matches!(error, DatasetError::Value { sample: 0, .. }), "{error}");
    }
}

#[test]
fn archives_with_other_arrays_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let images = |dtype, shape, bytes| ("images", npy(dtype, shape, false, &vec![0; bytes]));
    let labels = |values: &[u8]| ("labels", npy("|u1", &format!("({},)", values.len()), false, values));
    let say = |arrays: &[(&str, Vec<u8>)]| refused(&npz(folder.path(), true, arrays), &of_classes(10));
    let good = || images("|u1", "(1, 3, 2, 2)", 12);
    assert_eq!(say(&[good(), ("y", vec![])]), "`SET` has no array `labels`, it has `images`, `y`");
    assert_eq!(say(&[labels(&[1])]), "`SET` has no array `images`, it has `labels`");
    assert_eq!(say(&[]), "`SET` has no array `labels`, it has none");
    assert_eq!(say(&[good(), labels(&[10])]), "sample 0 in `SET` has the class 10, the model has the classes 0 to 9");
    let minus = ("labels", npy("|i1", "(1,)", false, &[0xff]));
    assert_eq!(say(&[good(), minus]), "sample 0 in `SET` has the class -1, the model has the classes 0 to 9");
    let floats = ("labels", npy("<f4", "(1,)", false, &[0; 4]));
    assert_eq!(say(&[good(), floats]), "the array `labels` in `SET` holds floats");
    let rows = ("labels", npy("|u1", "(1, 10)", false, &[0; 10]));
    let shape = "the array `labels` in `SET` has the shape 1x10, expected one class a sample";
    assert_eq!(say(&[good(), rows]), shape);
    assert_eq!(say(&[good(), labels(&[1, 2])]), "the array `images` in `SET` holds 1 pictures, `labels` 2 classes");
    assert_eq!(say(&[images("|u1", "(0, 3, 2, 2)", 0), labels(&[])]), "`SET` holds no sample");
    let short = images("|u1", "(1, 3, 2, 2)", 11);
    assert_eq!(say(&[short, labels(&[1])]), "the array `images` in `SET` is shorter or longer than its header says");
    let huge = images("|u1", "(1, 3, 9223372036854775807, 3000000000)", 11);
    assert_eq!(say(&[huge, labels(&[1])]), "the array `images` in `SET` is shorter or longer than its header says");
    let order = ("images", npy("|u1", "(1, 3, 2, 2)", true, &[0; 12]));
    assert_eq!(say(&[order, labels(&[1])]), "the array `images` in `SET` is in column-major order");
    for (dtype, shape, bytes, said) in [
        ("|u1", "(1, 2, 2)", 4, "has the shape 1x2x2, expected n x 3 x height x width or n x height x width x 3"),
        ("|u1", "(1, 1, 2, 2)", 4, "has the shape 1x1x2x2, expected n x 3 x height x width or n x height x width x 3"),
        ("|u1", "(1, 3, 0, 2)", 0, "has the shape 1x3x0x2, expected n x 3 x height x width or n x height x width x 3"),
        ("|u1", "(1, 3, 2, 3)", 18, "has the shape 1x3x2x3, expected planes or pixels, not both"),
        ("<f4", "(1, 32, 32, 3)", 12288, "has the shape 1x32x32x3, expected n x 3 x 32 x 32"),
        ("<f4", "(1, 3, 224, 224)", 602_112, "has the shape 1x3x224x224, expected n x 3 x 32 x 32"),
        ("<f8", "(1, 3, 32, 32)", 24576, "has elements of type `<f8`"),
        (">f4", "(1, 3, 32, 32)", 12288, "has elements of type `>f4`"),
        ("<i8", "(1, 3, 32, 32)", 24576, "has elements of type `<i8`"),
    ] {
        assert_eq!(say(&[images(dtype, shape, bytes), labels(&[1])]), format!("the array `images` in `SET` {said}"));
    }
}

#[test]
fn the_digest_follows_names_classes_and_content_and_not_the_place() {
    let pictures = [("a/1.png", 1), ("b/1.png", 2)];
    let digest =
        |folder: &tempfile::TempDir, labels| open(folder.path(), &of_classes(labels)).unwrap().digest().unwrap();
    let first = digest(&folder(&pictures), 2);
    assert_eq!(first.len(), 64);
    assert_eq!(first, digest(&folder(&pictures), 2));
    assert_ne!(first, digest(&folder(&[("a/1.png", 1), ("b/1.png", 3)]), 2), "content");
    assert_ne!(first, digest(&folder(&[("a/1.png", 1), ("b/2.png", 2)]), 2), "name");
    assert_ne!(first, digest(&folder(&[("a/1.png", 1), ("a/b/1.png", 2)]), 1), "class");
    // The part and the folder above it are the same set.
    assert_eq!(test_set("shapes10").digest().unwrap(), test_set("shapes10/test").digest().unwrap());
    let binary = test_set("shapes10-binary");
    assert_eq!(binary.digest().unwrap(), test_set("shapes10-binary/test_batch.bin").digest().unwrap());
    assert_ne!(binary.digest().unwrap(), test_set("shapes10.npz").digest().unwrap());
}

#[test]
fn models_without_published_pre_processing_and_other_inputs_are_refused() {
    let error = Requirements::of_model("gpt2", &[128], 50257, Split::Test).unwrap_err();
    assert_eq!(error.to_string(), "there is no published pre-processing of pictures for the model `gpt2`");
    let error = Requirements::of_model("resnet50", &[3, 128, 128], 1000, Split::Test).unwrap_err();
    let said = "`resnet50` takes 3x128x128 here, its published pre-processing makes 3x224x224";
    assert_eq!(error.to_string(), said);
    assert!(error.hint().is_some());
}
