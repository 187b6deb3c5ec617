"""``POST /v1/datasets``: many normal images × defect types → a labelled data set, planned at the door."""
