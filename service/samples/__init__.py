"""Sets of samples: from a ZIP or from uploads to canonical images and masks, with what there is to say of them."""
