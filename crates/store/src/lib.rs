//! What the authorization server remembers: memory, one file (redb) or Redis behind one trait.
