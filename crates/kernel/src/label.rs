//! What a label means.

/// What a label means for its row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A class.
    Class(usize),
    /// The row has loss and gradient 0, whatever is in it.
    Ignored,
    /// The row is NaN.
    Invalid,
    /// There are soft targets instead.
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
