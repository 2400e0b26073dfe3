"""A host whose jobs take no time: minutes pass at the speed of the queue that decides. Used by the tests of the queue and by its benchmark."""
