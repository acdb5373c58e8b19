//! Tests conversions to and from arrays of the crate `ndarray`.
#![cfg(feature = "ndarray")]

use std::collections::BTreeMap;

use hypha_wire::{DType, Element, NdArray, Value, from_slice, to_vec};
use ndarray::{Array, Array0, Array1, Array2, Array3, ArrayD, Axis, Dimension, Slice, array};
use num_complex::Complex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

fn survives<T: Element + PartialEq + std::fmt::Debug>(elements: Vec<T>) {
    let given = Array::from_shape_vec((elements.len(), 1), elements).expect("one column");
    let sent = NdArray::from(given.clone());
    assert_eq!(sent.dtype(), &T::DTYPE);
    let frame = bytes::Bytes::from(to_vec(&sent).expect("encodes"));
    let received: NdArray = from_slice(&frame).expect("decodes");
    assert_eq!(Array2::<T>::try_from(&received), Ok(given.clone()));
    assert_eq!(received.to_ndarray::<T>(), Ok(given.into_dyn().into()));
}

#[test]
fn every_type_of_elements_survives() {
    survives(vec![true, false]);
    survives(vec![i8::MIN, 1]);
    survives(vec![i16::MIN, 1]);
    survives(vec![i32::MIN, 1]);
    survives(vec![i64::MIN, 1]);
    survives(vec![u8::MAX, 1]);
    survives(vec![u16::MAX, 1]);
    survives(vec![u32::MAX, 1]);
    survives(vec![u64::MAX, 1]);
    survives(vec![1.5f32, f32::NEG_INFINITY]);
    survives(vec![1.5f64, f64::MIN]);
    survives(vec![Complex::new(1.5f32, -2.0)]);
    survives(vec![Complex::new(1.5f64, -2.0)]);
    #[cfg(feature = "half")]
    survives(vec![half::f16::MIN, half::f16::ONE]);
}

/// Compares two conversions of 16-bit floats: the conversion in this crate, and the conversion of
/// the crate `half`.
#[cfg(feature = "half")]
#[test]
fn half_floats_are_the_same_everywhere() {
    let all: Vec<_> = (0..=u16::MAX).map(half::f16::from_bits).collect();
    let array = NdArray::from(all.clone());
    for (ours, theirs) in array.iter_f64().expect("numbers").zip(&all) {
        assert!(ours == theirs.to_f64() || ours.is_nan() && theirs.is_nan());
    }
    for scale in [0.1, 0.3, 1.7, 1e-4, 123.4] {
        let scaled = array.map_f64(|number| number * scale).expect("numbers");
        for (ours, given) in scaled.to_vec::<half::f16>().expect("half").iter().zip(&all) {
            let theirs = half::f16::from_f64(given.to_f64() * scale);
            assert!(*ours == theirs || ours.is_nan() && theirs.is_nan());
        }
    }
}

#[test]
fn the_order_of_elements_is_that_of_the_indices() {
    let given = array![[1, 2, 3], [4, 5, 6]];
    let expected = NdArray::from_vec([3, 2], vec![1, 4, 2, 5, 3, 6]).expect("six");
    assert_eq!(NdArray::from(given.clone().reversed_axes()), expected);
    assert_eq!(NdArray::from(&given.t()), expected);
    let every_second = given.slice_axis(Axis(1), Slice::from(..).step_by(2));
    let expected = NdArray::from_vec([2, 2], vec![1, 3, 4, 6]).expect("four");
    assert_eq!(NdArray::from(&every_second), expected);
    let reversed = given.slice_axis(Axis(0), Slice::from(..).step_by(-1));
    let expected = NdArray::from_vec([2, 3], vec![4, 5, 6, 1, 2, 3]).expect("six");
    assert_eq!(NdArray::from(&reversed), expected);
}

/// Checks that only the elements of a slice are sent, although the slice owns the elements of the
/// whole array.
#[test]
fn only_the_slice_is_sent() {
    let mut given = Array1::from_iter(0..10);
    given.slice_axis_inplace(Axis(0), Slice::from(3..5));
    assert_eq!(NdArray::from(given), NdArray::from(vec![3, 4]));
    let mut given = array![[1, 2], [3, 4], [5, 6]];
    given.remove_index(Axis(0), 0);
    let expected = NdArray::from_vec([2, 2], vec![3, 4, 5, 6]).expect("four");
    assert_eq!(NdArray::from(given), expected);
}

#[test]
fn shapes_without_dimensions_and_without_elements() {
    let scalar = Array0::from_elem((), 1.5);
    let sent = NdArray::from(scalar.clone());
    assert_eq!(sent.shape(), [0usize; 0]);
    assert_eq!(Array0::<f64>::try_from(&sent), Ok(scalar));
    let empty = Array3::<u16>::zeros((2, 0, 3));
    let sent = NdArray::from(empty.clone());
    assert_eq!((sent.shape(), sent.len()), (&[2, 0, 3][..], 0));
    assert_eq!(Array3::<u16>::try_from(&sent), Ok(empty));
}

/// Checks that an array in another type keeps its element type and shape if the array has no
/// elements.
#[test]
fn arrays_without_elements_keep_their_type_and_shape() {
    #[derive(Serialize)]
    #[serde(tag = "kind")]
    enum Tagged<T> {
        Of { array: T, list: Vec<Option<T>> },
    }
    #[derive(Serialize)]
    struct Flat<T> {
        #[serde(flatten)]
        tagged: Tagged<T>,
    }
    fn check<A, D>(array: Array<A, D>, dtype: DType)
    where
        A: Clone + Serialize,
        D: Dimension + Serialize,
    {
        let sent = Flat {
            tagged: Tagged::Of {
                array: array.clone(),
                list: vec![Some(array.clone())],
            },
        };
        let sent = Value::encode_from(&sent).expect("encodes");
        let Value::Map(members) = sent else {
            panic!("a struct is a map")
        };
        let Value::List(list) = &members["list"] else {
            panic!("a list")
        };
        for value in [&members["array"], &list[0]] {
            let received: NdArray = value.decode_as().expect("an array");
            assert_eq!(
                (received.dtype(), received.shape()),
                (&dtype, array.shape())
            );
        }
    }
    check(Array1::<bool>::from_vec(vec![]), DType::Bool);
    check(Array1::<i8>::zeros(0), DType::Int8);
    check(Array2::<i16>::zeros((0, 3)), DType::Int16);
    check(Array2::<i32>::zeros((3, 0)), DType::Int32);
    check(Array3::<i64>::zeros((2, 0, 3)), DType::Int64);
    check(Array1::<isize>::zeros(0), DType::Int64);
    check(Array2::<u8>::zeros((0, 0)), DType::UInt8);
    check(Array2::<u16>::zeros((0, 3)), DType::UInt16);
    check(ArrayD::<u32>::zeros(vec![0; 9]), DType::UInt32);
    check(ArrayD::<u64>::zeros(vec![0]), DType::UInt64);
    check(Array1::<usize>::zeros(0), DType::UInt64);
    check(Array1::<f32>::zeros(0), DType::Float32);
    check(Array2::<f64>::zeros((0, 1)), DType::Float64);
    check(Array1::<Complex<f32>>::zeros(0), DType::Complex64);
    check(Array1::<Complex<f64>>::zeros(0), DType::Complex128);
    check(Array1::<half::f16>::from_vec(vec![]), DType::Float16);
    check(Array2::<u16>::zeros((1, 2)), DType::UInt16);
}

#[test]
fn memory_is_shared_where_it_can_be() {
    let given = Array2::<f64>::ones((100, 10));
    let memory = given.as_ptr().cast::<u8>();
    let sent = NdArray::from(given);
    assert_eq!(sent.data().as_ptr(), memory);
    assert!(sent.to_ndarray::<f64>().expect("floats").is_view());
    // Data that is not aligned for `T` is copied.
    let mut frame = vec![0; sent.data().len() + 16];
    let start = frame.as_ptr().align_offset(8) + 1;
    let end = start + sent.data().len();
    frame[start..end].copy_from_slice(sent.data());
    let data = bytes::Bytes::from(frame).slice(start..end);
    let moved = NdArray::from_bytes(DType::Float64, [100, 10], data).expect("right length");
    assert!(!moved.to_ndarray::<f64>().expect("floats").is_view());
    assert_eq!(moved.to_ndarray::<f64>(), sent.to_ndarray::<f64>());
}

#[test]
fn arrays_that_do_not_fit_are_errors() {
    let array = NdArray::from_vec([2, 1], vec![1.5f32, 2.5]).expect("two");
    let error = Array1::<f32>::try_from(&array).expect_err("two dimensions");
    assert_eq!(
        error.to_string(),
        "expected an array of 1 dimensions, got shape [2, 1]"
    );
    let error = ArrayD::<u8>::try_from(array).expect_err("f32");
    assert_eq!(
        error.to_string(),
        "expected an array of uint8, got one of float32; `cast` and `iter_f64` read every type of \
         real numbers"
    );
}

/// Checks that an array inside another type, at any depth, is sent in the form that other languages
/// use. This is not the form of serde.
#[test]
fn arrays_inside_of_other_types_are_arrays() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Frame {
        image: Array2<u16>,
        masks: Vec<ArrayD<bool>>,
        spectrum: Option<Array1<f32>>,
        field: Array2<Complex<f64>>,
    }
    let frame = Frame {
        image: array![[1, 2, 3], [4, 5, 6]].reversed_axes(),
        masks: vec![array![true, false].into_dyn()],
        spectrum: Some(array![0.5, 1.5]),
        field: array![[Complex::new(1.0, -1.0)]],
    };
    let bytes = bytes::Bytes::from(to_vec(&frame).expect("encodes"));
    let seen: Value = from_slice(&bytes).expect("decodes");
    let image: NdArray = seen
        .get("image")
        .expect("there")
        .decode_as()
        .expect("an array");
    assert_eq!(
        (image.dtype(), image.shape()),
        (&DType::UInt16, &[3, 2][..])
    );
    assert_eq!(image.to_vec::<u16>(), Ok(vec![1, 4, 2, 5, 3, 6]));
    let field: NdArray = seen
        .get("field")
        .expect("there")
        .decode_as()
        .expect("an array");
    assert_eq!(field.dtype(), &DType::Complex128);
    assert_eq!(from_slice(&bytes), Ok(frame));

    let read = |json: serde_json::Value| {
        let bytes = bytes::Bytes::from(to_vec(&json).expect("encodes"));
        from_slice::<Array2<u16>>(&bytes).map_err(|error| error.to_string())
    };
    assert_eq!(
        read(serde_json::json!([[1, 2], [3, 4]])),
        Ok(array![[1, 2], [3, 4]])
    );
    let error = read(serde_json::json!([1, 2])).expect_err("one dimension");
    assert!(error.contains("with shape [2]"), "{error}");
    assert!(read(serde_json::json!([[70000]])).is_err());
    let own = serde_json::json!({"v": 1, "dim": [1, 1], "data": [5]});
    assert_eq!(read(own), Ok(array![[5]]));
}

#[test]
fn other_structs_of_this_name_stay_maps() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Array {
        v: u8,
        dim: Vec<usize>,
        data: Vec<u8>,
    }
    let own = Array {
        v: 1,
        dim: vec![2],
        data: vec![1, 2, 3],
    };
    let bytes = bytes::Bytes::from(to_vec(&own).expect("encodes"));
    assert_eq!(from_slice::<Array>(&bytes), Ok(own));
}

/// Checks arrays inside types that serde reads into a buffer before it knows their types.
#[test]
fn many_arrays_survive_in_a_tagged_type() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Plate {
        Images {
            count: u8,
            wells: BTreeMap<String, Array2<u16>>,
        },
    }
    let well = |number: u16| (format!("W{number}"), ndarray::array![[number, 1], [2, 3]]);
    let plate = Plate::Images {
        count: 96,
        wells: (0..96).map(well).collect(),
    };
    assert_eq!(decode(&plate), Ok(plate));
}

#[test]
fn arrays_survive_in_tagged_and_flattened_types() {
    use std::time::Duration;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged<T> {
        Some { value: T },
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        name: String,
        #[serde(flatten)]
        frame: Frame,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Frame {
        image: Array2<u16>,
        time: Duration,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Image(Array2<u16>),
        Names(Vec<String>),
    }
    fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(decode(&value).as_ref(), Ok(&value));
        let tagged = Tagged::Some { value };
        assert_eq!(decode(&tagged), Ok(tagged));
    }
    let image = array![[1u16, 2], [3, 4]];
    survives(image.clone());
    survives(array![[1.5f32, -0.0]]);
    survives(array![true, false]);
    survives(array![Complex::new(1.5, -2.0)]);
    #[cfg(feature = "half")]
    {
        let halves = array![[half::f16::MIN, half::f16::ONE, half::f16::MIN_POSITIVE]];
        survives(halves.clone());
        survives(halves.reversed_axes());
        survives(hypha_wire::Array::from(vec![
            half::f16::MAX,
            half::f16::NEG_ONE,
        ]));
        survives(vec![Some(hypha_wire::Array::from(vec![
            half::f16::INFINITY,
        ]))]);
    }
    survives(array![1u8, 2].into_dyn());
    survives(Array0::from_elem((), 1.5));
    survives(Array3::<u16>::zeros((2, 0, 3)));
    survives(vec![array![1u8], array![2, 3]]);
    survives((Duration::from_secs(1), image.clone(), 5u8));
    survives(Either::Image(image.clone()));
    survives(Either::Names(vec!["a".into()]));
    let time = Duration::from_secs(1);
    let name = "a".to_owned();
    let frame = Frame { image, time };
    survives(vec![Flat { name, frame }; 3]);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Volts(f64);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Count(i32);

    // Callers without array types send lists.
    fn tagged<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, String> {
        let decoded = decode(json!({"kind": "Some", "value": value}));
        decoded.map(|Tagged::Some { value }| value)
    }
    assert_eq!(
        tagged(json!([[1, 2], [3, 4]])),
        Ok(array![[1.0, 2.0], [3.0, 4.0]])
    );
    assert_eq!(tagged(json!([1.0, 2.0])), Ok(array![1u8, 2]));
    for first in [0.0, 1.0, 2.0, -1.0, 1.5, 300.0] {
        assert_eq!(tagged(json!([first, 2])), Ok(array![first, 2.0]));
        assert_eq!(tagged(json!([first, 2])), Ok(array![first, 2.0].into_dyn()));
    }
    #[cfg(feature = "half")]
    {
        let halves = array![half::f16::ONE, half::f16::from_f32(0.5)];
        assert_eq!(tagged(json!([1, 0.5])), Ok(halves.clone()));
        assert_eq!(tagged(json!([1.0, 0.5])), Ok(halves.clone()));
        let typed = hypha_wire::Array::from(halves.to_vec());
        assert_eq!(tagged(json!([1, 0.5])), Ok(typed));
        let one = array![half::f16::ONE];
        assert_eq!(tagged(json!([1])), Ok(one.clone()));
        assert_eq!(tagged(json!([1])), Ok(one.into_dyn()));
    }
    // Elements that are newtypes.
    assert_eq!(
        tagged(json!([1.0, 0.5])),
        Ok(array![Volts(1.0), Volts(0.5)])
    );
    assert_eq!(tagged(json!([1, 2])), Ok(array![Volts(1.0), Volts(2.0)]));
    assert_eq!(tagged(json!([-1, 2])), Ok(array![Count(-1), Count(2)]));
    assert_eq!(tagged(json!([])), Ok(Array1::<u8>::zeros(0)));
    assert_eq!(tagged(json!([1])), Ok(array![1u8]));
    assert_eq!(tagged(json!([[1], [2]])), Ok(vec![array![1u8], array![2]]));
    let error = tagged::<Array1<u8>>(json!("a")).expect_err("a string");
    assert_eq!(error, "value: expected array, got string");
    let error = tagged::<Array2<u8>>(json!([1, 2])).expect_err("one dimension");
    let expected =
        "value: expected an array of uint8 with 2 dimensions, got one of int64 with shape [2]";
    assert_eq!(error, expected);
}

fn decode<T: DeserializeOwned>(value: impl Serialize) -> Result<T, String> {
    let bytes = bytes::Bytes::from(to_vec(&value).expect("encodes"));
    from_slice(&bytes).map_err(|error| error.to_string())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Image<T> {
    px: T,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat<T> {
    #[serde(flatten)]
    image: Image<T>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Kind<T> {
    Image { before: Vec<Array2<u16>>, px: T },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either<T> {
    Image { px: T },
    Text(String),
}

/// Returns a value of each type that serde buffers, with `px` as the image.
fn images<T: DeserializeOwned>(px: impl Serialize + Clone) -> [Result<T, String>; 4] {
    let image = Image { px: px.clone() };
    let kind = Kind::Image {
        before: vec![array![[1]]],
        px: px.clone(),
    };
    [
        decode(&image).map(|Image { px }| px),
        decode(&image).map(|Flat { image }| image.px),
        decode(&kind).map(|Kind::Image { px, .. }| px),
        decode(&image).and_then(|either| match either {
            Either::Image { px } => Ok(px),
            Either::Text(text) => Err(text),
        }),
    ]
}

/// Checks that callers without array types can send lists wherever an array may be.
#[test]
fn lists_are_arrays_in_buffers() {
    for list in [json!([[1, 2]]), json!([[1.0, 2]])] {
        for image in images::<Array2<u16>>(list) {
            assert_eq!(image, Ok(array![[1, 2]]));
        }
    }
    for image in images::<Array2<u16>>(json!([])) {
        assert_eq!(image, Ok(Array2::zeros((0, 0))));
    }
    for image in images::<Array3<f32>>(json!([[]])) {
        assert_eq!(image, Ok(Array3::zeros((1, 0, 0))));
    }
    for image in images::<ArrayD<u8>>(json!([])) {
        assert_eq!(image, Ok(ArrayD::zeros(vec![0])));
    }
    for image in images::<Array2<half::f16>>(json!([])) {
        assert_eq!(
            image,
            Ok(Array2::from_shape_vec((0, 0), vec![]).expect("empty"))
        );
    }
    for image in images::<Vec<Array2<u8>>>(json!([[[1]], []])) {
        assert_eq!(image, Ok(vec![array![[1]], Array2::zeros((0, 0))]));
    }
}

#[test]
fn errors_of_arrays_name_the_type_and_the_dimensions() {
    fn check<T: DeserializeOwned + std::fmt::Debug>(px: impl Serialize + Clone, expected: &str) {
        let [plain, flat, tagged, _] = images::<T>(px);
        for image in [plain, flat, tagged] {
            assert_eq!(image.expect_err("other dimensions"), expected);
        }
    }
    let expected = |path: &str, wanted: &str, got: &str| {
        format!("{path}: expected an array of {wanted}, got one of {got}")
    };
    let of = |wanted: &str| expected("px", wanted, "int64 with shape [2]");
    check::<Array2<u16>>(json!([1, 2]), &of("uint16 with 2 dimensions"));
    check::<Array3<f32>>(json!([1, 2]), &of("float32 with 3 dimensions"));
    check::<Array2<bool>>(json!([1, 2]), &of("bool with 2 dimensions"));
    check::<Array2<half::f16>>(json!([1, 2]), &of("float16 with 2 dimensions"));
    let typed = NdArray::from_vec([0], Vec::<u8>::new()).expect("empty");
    check::<Array2<u16>>(
        typed,
        &expected("px", "uint16 with 2 dimensions", "uint8 with shape [0]"),
    );
    check::<Vec<Array1<i8>>>(
        json!([[1], [[2]]]),
        &expected("px[1]", "int8 with 1 dimension", "int64 with shape [1, 1]"),
    );
}

/// Checks that the type of an array chooses the variant of an untagged enum, and that a variant for
/// which the array must be converted is only the second choice.
#[test]
fn the_type_of_an_array_chooses_the_variant() {
    use hypha_wire::Array;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Image {
        Bytes(Array<u8, 2>),
        Words(Array<u16, 2>),
        Float(Array<f32, 2>),
        Double(Array<f64, 2>),
        Line(Array<f64, 1>),
        Later {
            px: Array<u16, 1>,
            time: std::time::Duration,
        },
        Any(NdArray),
    }
    fn array<T: Element, const N: usize>(shape: [usize; N], element: T) -> Array<T, N> {
        let count = shape.iter().product();
        Array::from_vec(shape, vec![element; count]).expect("the length")
    }
    let images = [
        Image::Bytes(array([1, 1], 1)),
        Image::Words(array([1, 1], 1)),
        Image::Words(array([0, 3], 1)),
        Image::Float(array([1, 1], 1.0)),
        Image::Double(array([1, 1], 1.0)),
        Image::Line(array([1], 1.0)),
        Image::Later {
            px: array([1], 1),
            time: std::time::Duration::from_secs(1),
        },
        Image::Any(NdArray::from(vec![1i32])),
    ];
    for image in &images {
        assert_eq!(decode(image).as_ref(), Ok(image));
    }
    assert_eq!(decode(&images).as_ref(), Ok(&images));

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Typed {
        Words(Array<u16, 2>),
        Double(Array<f64, 2>),
    }
    // No variant has this type.
    let bytes = array([1, 1], 1u8);
    assert_eq!(decode(&bytes), Ok(Typed::Words(array([1, 1], 1))));
    let float = array([1, 1], 1f32);
    assert_eq!(decode(&float), Ok(Typed::Double(array([1, 1], 1.0))));
    // The numbers of a list have no type.
    let list = json!([[1]]);
    assert_eq!(decode(&list), Ok(Typed::Words(array([1, 1], 1))));
    assert_eq!(decode(&bytes), Ok(array([1, 1], 1i64)));
    let error = decode::<Array<u8, 2>>(array([1, 1], 1.5f32)).expect_err("float");
    assert!(
        error.starts_with("expected an array of uint8 with 2 dimensions, got"),
        "{error}"
    );
}

/// Checks that an array in another type is converted by the rule for `Array`, and that the numbers
/// of a list are rounded.
#[test]
fn conversions_change_no_element() {
    fn check<T>(sent: impl Into<NdArray>, fits: bool)
    where
        T: Element + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let sent = sent.into();
        let array = decode::<Array1<T>>(&sent);
        let typed = decode::<hypha_wire::Array<T, 1>>(&sent);
        assert_eq!(
            (array.is_ok(), typed.is_ok()),
            (fits, fits),
            "{array:?} {typed:?}"
        );
        if let (Ok(array), Ok(typed)) = (array, typed) {
            assert_eq!(array.to_vec(), typed.as_slice());
        }
    }
    check::<f32>(vec![1e300], false);
    check::<f32>(vec![0.1], false);
    check::<f32>(vec![0.5], false);
    check::<f32>(vec![0.1f32, f32::INFINITY], true);
    check::<f64>(vec![0.1f32, f32::INFINITY], true);
    check::<f32>(vec![16_777_216, -1], true);
    check::<f32>(vec![16_777_217], false);
    check::<f32>(vec![u64::MAX], false);
    check::<f64>(vec![1i64 << 53], true);
    check::<f64>(vec![(1i64 << 53) + 1], false);
    check::<u8>(vec![1.0], false);
    check::<u8>(vec![1i64], true);
    check::<u8>(vec![256], false);
    check::<i64>(vec![u64::MAX], false);
    check::<f32>(Vec::<f64>::new(), true);
    check::<u8>(Vec::<f64>::new(), true);
    check::<bool>(vec![1u8], false);
    check::<u8>(vec![true], false);
    #[cfg(feature = "half")]
    {
        check::<half::f16>(vec![half::f16::MAX], true);
        check::<half::f16>(vec![1f32], false);
        check::<f32>(vec![half::f16::MAX], true);
    }

    let frame = |px: Result<_, String>| px.map(|Image { px }: Image<Array2<f32>>| px);
    let of = |array: NdArray| Image { px: array };
    let error = frame(decode(of(
        NdArray::from_vec([1, 1], vec![1e300]).expect("one")
    )));
    let expected = "px: expected an array of float32, got one of float64 with shape [1, 1]";
    assert_eq!(error, Err(expected.to_owned()));
    let error = frame(decode(of(
        NdArray::from_vec([1, 1], vec![16_777_217]).expect("one")
    )));
    assert_eq!(
        error,
        Err("px[0]: 16777217 has no exact float32".to_owned())
    );
    assert_eq!(frame(decode(json!({"px": [[0.1]]}))), Ok(array![[0.1]]));
    let out_of_range = "1e300 is out of range for f32";
    let error = frame(decode(json!({"px": [[1e300]]})));
    assert_eq!(error, Err(format!("px[0]: {out_of_range}")));
    // An array is also a list of numbers.
    let floats = |numbers: Vec<f64>| decode::<Vec<f32>>(NdArray::from(numbers));
    assert_eq!(
        floats(vec![0.1, f64::INFINITY]),
        Ok(vec![0.1, f32::INFINITY])
    );
    assert_eq!(
        floats(vec![0.5, 1e300]),
        Err(format!("[1]: {out_of_range}"))
    );
    let rows = NdArray::from_vec([1, 2], vec![0.5, -1e300]).expect("two");
    let error = decode::<Vec<Vec<f32>>>(&rows).expect_err("out of range");
    assert_eq!(error, format!("[0][1]: -{out_of_range}"));
    assert_eq!(decode::<Vec<u8>>(NdArray::from(vec![1.0])), Ok(vec![1]));
    #[cfg(feature = "half")]
    {
        let error = decode::<Vec<half::f16>>(NdArray::from(vec![1e6])).expect_err("out of range");
        assert_eq!(error, "[0]: 1e6 is out of range for f16");
    }
}

/// Checks that a numpy scalar is a number or an array without dimensions in a buffer, as the type
/// requires.
#[test]
fn scalars_are_numbers_and_arrays_in_buffers() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged<N> {
        Some {
            any: NdArray,
            number: N,
            other: N,
            time: N,
            value: Value,
        },
    }
    let scalar = |number: i32| NdArray::from_vec([], vec![number]).expect("a number");
    let tagged = |number| Tagged::Some {
        any: scalar(1),
        number,
        other: scalar(4),
        time: scalar(5),
        value: scalar(6).into(),
    };
    let Tagged::Some { any, value, .. } = tagged(scalar(3));
    let wanted = Tagged::Some {
        any,
        number: 3u8,
        other: 4,
        time: 5,
        value,
    };
    assert_eq!(decode(tagged(scalar(3))), Ok(wanted));
    assert_eq!(decode(tagged(scalar(3))), Ok(tagged(scalar(3))));
    let error = decode::<Tagged<u8>>(tagged(scalar(300))).expect_err("out of range");
    assert_eq!(error, "number: 300 is out of range for u8");

    let sent = json!({"before": 1.5, "px": 2});
    let sent = (Image { px: scalar(2) }, Image { px: sent });
    #[derive(Debug, PartialEq, Deserialize)]
    struct Point {
        before: f64,
        px: Array0<u16>,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Of(Image<Array0<u16>>, Image<Point>),
    }
    let px = || Array0::from_elem((), 2u16);
    let point = Point {
        before: 1.5,
        px: px(),
    };
    let wanted = Either::Of(Image { px: px() }, Image { px: point });
    assert_eq!(decode(sent), Ok(wanted));
}

/// Checks that a flattened `Option` and the first variant of an untagged enum are found if several
/// of their values are arrays.
#[test]
fn options_and_variants_may_have_several_arrays() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat<T> {
        id: u8,
        #[serde(flatten)]
        rest: Option<T>,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either<T, A> {
        Some(T),
        Any(BTreeMap<String, A>),
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct One<A> {
        x: A,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Two<A, B> {
        x: A,
        y: B,
        time: std::time::Duration,
    }
    fn survives<T>(rest: T)
    where
        T: Clone + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let flat = Flat {
            id: 1,
            rest: Some(rest.clone()),
        };
        assert_eq!(decode(&flat), Ok(flat));
        let either = Either::<_, Value>::Some(rest.clone());
        assert_eq!(decode(&either), Ok(either));
        let either = Either::<_, serde_json::Value>::Some(rest);
        assert_eq!(decode(&either), Ok(either));
    }
    fn check<A>(x: A)
    where
        A: Clone + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        survives(One { x: x.clone() });
        let mask = array![true, false];
        let time = std::time::Duration::from_secs(1);
        for (x, y) in [(x.clone(), mask.clone()), (x, mask)] {
            survives(Two {
                x: x.clone(),
                y: x.clone(),
                time,
            });
            survives(Two {
                x: x.clone(),
                y: y.clone(),
                time,
            });
            survives(Two { x: y, y: x, time });
        }
    }
    check(array![[1u16, 2], [3, 4]]);
    check(array![[1u16, 2], [3, 4]].reversed_axes());
    check(array![0.5f32, 1.0]);
    check(array![Complex::new(0.5, 1.0)]);
    check(Array3::<u8>::zeros((2, 0, 3)));
    #[cfg(feature = "half")]
    check(array![half::f16::ONE]);
}

#[test]
fn values_of_any_type_beside_many_arrays_stay() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Frames {
        Many {
            meta: serde_json::Value,
            a: Array2<u16>,
            b: Array2<u16>,
            c: Array2<u16>,
            d: Array2<u16>,
            e: Array2<u16>,
            other: serde_json::Value,
            value: Value,
        },
    }
    let image = || array![[1, 2], [3, 4]];
    let frames = Frames::Many {
        meta: json!([[1, 2], [3, 4]]),
        a: image(),
        b: image(),
        c: image(),
        d: image(),
        e: image(),
        other: json!({"x": [1, 2]}),
        value: Value::List(vec![1.into(), 2.into()]),
    };
    assert_eq!(decode(&frames), Ok(frames));
}
