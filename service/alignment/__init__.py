"""Where the part of a reference image lies in other photos, and what is drawn on it carried over to them."""
