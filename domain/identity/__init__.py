"""Identity: who may ask for what. Its events are private: they never leave the database."""
