"""The words, the seams and the native contract. Imports no other room."""
