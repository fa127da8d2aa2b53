"""The statements on bulk jobs (:mod:`.jobs`) and on their items (:mod:`.items`)."""
