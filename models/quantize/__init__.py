"""Networks in int8: the float network made fit for it, rounded by NNCF, the layers that it harms left in float."""
