//! Rejections.

use super::{At, Wire};
use crate::v1;
use berth_model::error::{ErrorCode, Rejection};

impl Wire for Rejection {
    type Message = v1::ErrorDetail;

    fn to_wire(&self) -> v1::ErrorDetail {
        let Self { code, message, remedy, field } = self;
        v1::ErrorDetail {
            code: code.as_str().to_owned(),
            message: message.clone(),
            remedy: remedy.clone(),
            field: field.clone(),
        }
    }

    fn from_wire(message: v1::ErrorDetail, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::ErrorDetail { code, message, remedy, field } = message;
        let code = ErrorCode::parse(&code).ok_or_else(|| {
            at.field("code").invalid(
                format!("{code:?} is not a known error code"),
                "use a code of docs/errors.md",
            )
        })?;
        Ok(Self { code, message, remedy, field })
    }
}
