"""Looking at a graph, value by value and gradient by gradient: one HTML file.

`graphs.py` reads the graph of a Value, `recorded/stepping.py` a program; both give the `Graph` of
`description.py`. `layers.py` finds layers in it, `page.py` puts it into the page, whose JavaScript
is in `assets`.
"""
