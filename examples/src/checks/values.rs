//! Checks arrays, typed errors and files.

use anyhow::{bail, ensure};
use hypha_rpc::prelude::*;
use hypha_rpc::{DType, TypedArray, args};

use super::{Checks, Outcome, pattern, same, short};
use crate::conformance::{ArrayInfo, DivisionError};

impl Checks {
    pub(super) async fn run_values(&mut self) {
        self.check("array_info", Self::array_info).await;
        self.check("scale", Self::scale).await;
        self.check("scale_typed_arrays", async |c| {
            let array = TypedArray::try_from(vec![1.5f32, -2.0])?;
            let scaled: NdArray = c.untyped("scale", args!(array, 2.0)).await?;
            same(elements(&scaled)?, vec![3.0, -4.0])
        })
        .await;
        self.check("a_large_array", async |c| {
            let image = NdArray::from_vec([1024, 1024], vec![0.5f32; 1 << 20])?;
            let scaled = c.service.scale(image, 4.0).await?;
            ensure!(elements(&scaled)?.iter().all(|n| *n == 2.0));
            same(scaled.shape(), &[1024, 1024])
        })
        .await;
        if self.knows_texts() {
            self.check("what_is_no_array_is_refused", async |c| {
                match c.untyped::<Value>("array_info", args!("text")).await {
                    Err(Error::Rejected(_) | Error::Remote(_)) => Ok(()),
                    other => bail!("{}", short(&other)),
                }
            })
            .await;
        }
        self.check("checked_divide", Self::checked_divide).await;
        self.check("read_all", async |c| {
            for size in [0, 10, 700_000] {
                let file = RemoteFile::from_bytes(pattern(size)).named("a file");
                same(c.service.read_all(file).await?.to_vec(), pattern(size))?;
            }
            Ok(())
        })
        .await;
    }

    async fn array_info(&self) -> Outcome {
        let info = |dtype: DType, shape: &[usize], sum| ArrayInfo {
            dtype: dtype.to_string(),
            shape: shape.to_vec(),
            sum,
        };
        for (array, wanted) in [
            (
                NdArray::from_vec([2, 3], vec![1u8, 2, 3, 4, 5, 255])?,
                info(DType::UInt8, &[2, 3], 270.0),
            ),
            (
                NdArray::from_vec([2, 1, 2], vec![-1i16, 2, 300, -4])?,
                info(DType::Int16, &[2, 1, 2], 297.0),
            ),
            (
                NdArray::from_vec([2], vec![0.5f32, 0.25])?,
                info(DType::Float32, &[2], 0.75),
            ),
            (
                NdArray::from_vec([1, 1], vec![1e300f64])?,
                info(DType::Float64, &[1, 1], 1e300),
            ),
            (
                NdArray::from_vec([0, 4], Vec::<i32>::new())?,
                info(DType::Int32, &[0, 4], 0.0),
            ),
            (
                NdArray::from_vec([], vec![7u32])?,
                info(DType::UInt32, &[], 7.0),
            ),
        ] {
            same(self.service.array_info(array).await?, wanted)?;
        }
        Ok(())
    }

    async fn scale(&self) -> Outcome {
        let check = async |array: NdArray, factor, wanted: NdArray| -> Outcome {
            let scaled = self.service.scale(array, factor).await?;
            same(scaled.shape(), wanted.shape())?;
            same(elements(&scaled)?, elements(&wanted)?)?;
            if self.knows_texts() {
                same(scaled.dtype(), wanted.dtype())?;
            }
            Ok(())
        };
        let image = NdArray::from_vec([2, 2], vec![1u8, 2, 3, 100])?;
        let wanted = NdArray::from_vec([2, 2], vec![2u8, 4, 6, 200])?;
        check(image, 2.0, wanted).await?;
        let volume = NdArray::from_vec([1, 2, 2], vec![0.5f64, -1.0, 1e100, 4.0])?;
        let wanted = NdArray::from_vec([1, 2, 2], vec![-1.0f64, 2.0, -2e100, -8.0])?;
        check(volume, -2.0, wanted).await?;
        let none = NdArray::from_vec([3, 0], Vec::<i32>::new())?;
        check(none.clone(), 3.0, none).await
    }

    async fn checked_divide(&self) -> Outcome {
        same(self.service.checked_divide(1.0, 4.0).await?, 0.25)?;
        match self.service.checked_divide(1.0, 0.0).await {
            Err(Error::Service(DivisionError::DivisionByZero)) => {}
            Err(Error::Remote(_)) if !self.knows_texts() => {}
            other => bail!("{}", short(&other)),
        }
        if !self.knows_texts() {
            return Ok(());
        }
        match self.service.checked_divide(1e300, 1e-300).await {
            Err(Error::Service(DivisionError::TooLarge(text))) => {
                ensure!(text.contains("too large"), "{text}");
                Ok(())
            }
            other => bail!("{}", short(&other)),
        }
    }
}

fn elements(array: &NdArray) -> anyhow::Result<Vec<f64>> {
    Ok(array.iter_f64()?.collect())
}
