"""Normal images of a data set: from a ZIP or from uploads to canonical images, with what belongs to each."""
