//! Bytes of every outside protocol to model values. Pure functions.
