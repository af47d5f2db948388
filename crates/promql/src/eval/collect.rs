//! Columns by label set: results of operators, and the end of a query where names go.

use std::collections::HashMap;

use kenning_model::LabelSet;
use kenning_query::{QueryError, SourceSpan};

use super::{Column, Steps, failure, without_metadata};
use crate::Point;

pub(super) const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

/// Gathers values of series that are not known beforehand.
pub(super) struct Collector {
    steps: Steps,
    columns: Vec<Column>,
    positions: HashMap<LabelSet, usize>,
}

impl Collector {
    pub(super) fn new(steps: Steps) -> Self {
        Self { steps, columns: Vec::new(), positions: HashMap::new() }
    }

    /// The place of a series, to be kept by callers that meet the same series at every instant.
    pub(super) fn slot(&mut self, labels: &LabelSet, drop_name: bool) -> usize {
        if let Some(slot) = self.positions.get(labels) {
            return *slot;
        }
        self.positions.insert(labels.clone(), self.columns.len());
        self.add(labels.clone(), drop_name)
    }

    fn add(&mut self, labels: LabelSet, drop_name: bool) -> usize {
        self.columns.push(Column { labels, drop_name, points: vec![None; self.steps.len] });
        self.columns.len() - 1
    }

    /// Adds a value. Over a grid a series can have one value per instant only; at a single instant doubles stay until
    /// the end of the query, where the name may still tell them apart from what they are then.
    pub(super) fn put(&mut self, slot: usize, i: usize, point: Point) -> Result<(), QueryError> {
        let Some(column) = self.columns.get_mut(slot) else { return Ok(()) };
        match column.points.get_mut(i) {
            Some(Some(_)) if self.steps.len > 1 => Err(failure(SourceSpan::default(), SAME_LABELS)),
            Some(Some(_)) => {
                let (labels, drop_name) = (column.labels.clone(), column.drop_name);
                let double = self.add(labels, drop_name);
                self.put(double, i, point)
            }
            Some(place) => {
                *place = Some(point);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Adds a value of a series.
    pub(super) fn push(
        &mut self,
        labels: &LabelSet,
        drop_name: bool,
        i: usize,
        point: Point,
    ) -> Result<(), QueryError> {
        let slot = self.slot(labels, drop_name);
        self.put(slot, i, point)
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn finish(self) -> Vec<Column> {
        self.columns
    }
}

/// Drops the names that are due and joins columns that then have the same labels.
pub(super) fn without_names(mut columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    for column in columns.iter_mut().filter(|column| column.drop_name) {
        column.labels = without_metadata(&column.labels);
    }
    merge_same_labels(columns)
}

/// Joins columns with the same labels; two values at one instant are an error.
pub(super) fn merge_same_labels(columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    let mut positions: HashMap<LabelSet, usize> = HashMap::with_capacity(columns.len());
    let mut merged: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        let at = *positions.entry(column.labels.clone()).or_insert(merged.len());
        let Some(existing) = merged.get_mut(at) else {
            merged.push(column);
            continue;
        };
        for (slot, point) in existing.points.iter_mut().zip(column.points) {
            match (&slot, point) {
                (_, None) => {}
                (None, point) => *slot = point,
                (Some(_), Some(_)) => return Err(failure(SourceSpan::default(), SAME_LABELS)),
            }
        }
    }
    Ok(merged)
}
