//! The meaning of a label.

/// The meaning of a label for its row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A class.
    Class(usize),
    /// Loss and gradient of the row are 0, whatever its logits are.
    Ignored,
    /// Loss and gradient of the row are NaN.
    Invalid,
    /// The row has soft targets instead.
    None,
}

impl Label {
    /// The meaning of a label.
    #[inline(always)]
    pub fn of(label: i32, classes: u32, ignore_index: Option<i32>) -> Self {
        if Some(label) == ignore_index {
            Self::Ignored
        } else if (label as u32) < classes {
            Self::Class(label as u32 as usize)
        } else {
            Self::Invalid
        }
    }
}
