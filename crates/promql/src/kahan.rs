//! Sums that lose no small terms: Neumaier's improvement of Kahan's algorithm.

/// A running sum with what rounding took away from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(crate) const fn new(value: f64) -> Self {
        Self { sum: value, lost: 0.0 }
    }

    /// The sum that [`Self::parts`] took apart.
    #[inline]
    pub(crate) const fn from_parts(sum: f64, lost: f64) -> Self {
        Self { sum, lost }
    }

    /// What was added up, and what rounding took away from it.
    #[inline]
    pub(crate) const fn parts(self) -> (f64, f64) {
        (self.sum, self.lost)
    }

    #[inline]
    pub(crate) fn add(&mut self, term: f64) {
        // Without branches: which of the two is greater is as good as random in sums of many series.
        let total = self.sum + term;
        let is_small = self.sum.abs() >= term.abs();
        let (great, small) = if is_small { (self.sum, term) } else { (term, self.sum) };
        let lost = self.lost + ((great - total) + small);
        self.lost = if total.is_infinite() { 0.0 } else { lost };
        self.sum = total;
    }

    /// Adds another sum without losing what it carries.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.add(other.sum);
        if other.lost != 0.0 {
            self.add(other.lost);
        }
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.lost *= factor;
    }

    pub(crate) fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        // Nothing lost stays nothing, also when dividing by zero.
        if self.lost != 0.0 {
            self.lost /= divisor;
        }
    }

    /// The sum so far, without what was lost.
    pub(crate) const fn rough(self) -> f64 {
        self.sum
    }

    pub(crate) fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

/// A mean that does not overflow: a plain mean of the sum for as long as that is finite, then an incremental one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(crate) const fn new(first: f64) -> Self {
        Self { sum: Sum::new(first), count: 1.0, incremental: false }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut sum = self.sum;
            sum.add(value);
            if !sum.rough().is_infinite() {
                self.sum = sum;
                return;
            }
            self.incremental = true;
            self.sum.divide(self.count - 1.0);
        }
        self.sum.scale((self.count - 1.0) / self.count);
        self.sum.add(value / self.count);
    }

    pub(crate) fn value(self) -> f64 {
        let mut mean = self.sum;
        if !self.incremental {
            mean.divide(self.count);
        }
        mean.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive() {
        let mut sum = Sum::default();
        [1e100, 1.0, -1e100, 1.0].into_iter().for_each(|term| sum.add(term));
        assert_eq!(sum.value(), 2.0);
    }

    #[test]
    fn means_do_not_overflow() {
        let mut mean = Mean::new(f64::MAX);
        mean.add(f64::MAX);
        mean.add(f64::MAX);
        assert!((mean.value() / f64::MAX - 1.0).abs() < 1e-15);
    }
}
