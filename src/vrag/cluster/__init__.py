"""`vrag index` over many machines: reading, OCR and encoding by Ray Data, the extra `vrag[ray]`.

Machines read files and write page images at the paths that all of them share, with the functions that one machine
uses. The driver alone writes the catalogue and the folder of vectors; vectors on a Qdrant server are written by whoever
made them. `session` joins or starts a Ray, `rounds` hands out jobs and takes what comes of them, `reading` and
`encoding` are the jobs. Importing these modules imports no Ray.
"""
