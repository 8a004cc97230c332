"""Between the contract's messages (tandem.v1) and the dataclasses of tandem.method: each shape is converted here and
only here.
"""
