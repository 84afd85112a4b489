"""The demonstration corpus: two datasets, `solo` and `band`, rendered from General MIDI SoundFonts.

They show, on data that can be passed on, what the paper shows on IRMAS and OpenMIC-2018. Where to
look: `design` (what makes the datasets different), `composition` (notes), `synthesis` (SoundFonts),
`production` (rooms, filters, noise, codecs), `table` (labels and ground truth), `render` (folders),
`bundle` (the small corpus in `data/demo`).
"""
