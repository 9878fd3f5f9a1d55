//! Laws of the resources algebra, checked on arbitrary sums and against naive sets.

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod ranges;
#[cfg(test)]
mod resource;
#[cfg(test)]
mod sum;
#[cfg(test)]
mod text;
