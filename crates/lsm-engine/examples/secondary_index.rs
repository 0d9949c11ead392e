//! People, found by their city as well as by their name: an index is a keyspace of its own, written
//! in the same batch as what it points to, so that the two never disagree, after a crash either.
//!
//! `cargo run --release -p lsm-engine --example secondary_index`

use lsm_engine::{Db, ErrorKind, Keyspace, Reads, Result};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let people = People::open(&Db::open(dir.path().join("people.db"))?)?;
    people.put("Ada", "London")?;
    people.put("Grace", "New York")?;
    people.put("Alan", "London")?;
    println!("in London: {}", people.in_city("London")?.join(", "));

    people.put("Alan", "Manchester")?;
    people.remove("Grace")?;
    println!("Alan moved, Grace left: in London: {}", people.in_city("London")?.join(", "));
    assert_eq!(people.in_city("London")?, ["Ada"]);
    assert_eq!(people.in_city("Manchester")?, ["Alan"]);
    assert_eq!(people.in_city("New York")?, [] as [&str; 0]);

    people.rebuild_index()?;
    assert_eq!(people.in_city("Manchester")?, ["Alan"]);
    println!("the index built anew says the same");
    Ok(())
}

/// Name to city, and (city, name) to nothing.
struct People {
    db: Db,
    cities: Keyspace,
    names_by_city: Keyspace,
}

impl People {
    fn open(db: &Db) -> Result<Self> {
        let (cities, names_by_city) = (db.keyspace("cities")?, db.keyspace("names by city")?);
        Ok(Self { db: db.clone(), cities, names_by_city })
    }

    /// Puts or moves a person. The transaction begins anew if somebody else moves them meanwhile.
    fn put(&self, name: &str, city: &str) -> Result<()> {
        self.change(name, Some(city))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.change(name, None)
    }

    fn change(&self, name: &str, city: Option<&str>) -> Result<()> {
        loop {
            let tx = self.db.transaction();
            if let Some(old) = tx.within(&self.cities).get(name)? {
                tx.within(&self.names_by_city).delete(index_key(&old, name));
            }
            match city {
                Some(city) => {
                    tx.within(&self.cities).put(name, city);
                    tx.within(&self.names_by_city).put(index_key(city.as_bytes(), name), "");
                }
                None => tx.within(&self.cities).delete(name),
            }
            match tx.commit() {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                outcome => return outcome.map(drop),
            }
        }
    }

    /// The names in a city, in order: one scan over the index, which never looks at other cities.
    fn in_city(&self, city: &str) -> Result<Vec<String>> {
        let prefix = index_key(city.as_bytes(), "");
        let entries = self.names_by_city.prefix(&prefix);
        entries
            .map(|entry| Ok(String::from_utf8_lossy(&entry?.0[prefix.len()..]).into_owned()))
            .collect()
    }

    /// For an index that is new, or wrong: everything in it is written again, together.
    fn rebuild_index(&self) -> Result<()> {
        let snapshot = self.db.snapshot();
        let mut batch = lsm_engine::WriteBatch::new();
        for entry in snapshot.within(&self.names_by_city).iter() {
            batch.within(&self.names_by_city).delete(entry?.0);
        }
        for entry in snapshot.within(&self.cities).iter() {
            let (name, city) = entry?;
            let key = index_key(&city, &String::from_utf8_lossy(&name));
            batch.within(&self.names_by_city).put(key, "");
        }
        self.db.write(&batch).map(drop)
    }
}

/// City, a zero byte, name: all of a city lie together, and no city's name is the start of another's.
fn index_key(city: &[u8], name: &str) -> Vec<u8> {
    [city, b"\0", name.as_bytes()].concat()
}
