export DS_GEOMETRY=ds20k
