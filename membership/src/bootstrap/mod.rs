//! How the group of voters forms.
