//! Where settings and credentials of a store are looked for.
//!
//! Only variables that begin with the name of the store are passed on: `object_store` also takes `TOKEN`, `REGION`
//! and `ENDPOINT`, which belong to other programs. What the tools of the stores read and `object_store` does not is
//! translated here: the profiles of `~/.aws`, and Azure's connection string.

use std::path::PathBuf;
use std::{env, fs};

use ini::Ini;

use crate::address::Scheme;

/// The longest file of profiles that is read, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// Settings by the names of variables, in lower case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) values: Vec<(String, String)>,
    /// Why a profile was left out.
    pub(crate) left_out: Option<String>,
}

impl Settings {
    /// Reads the settings of a kind of store.
    pub(crate) fn of(scheme: Scheme) -> Self {
        let variables: Vec<(String, String)> = env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut settings = Self::from(scheme, &variables);
        if scheme == Scheme::S3 {
            settings.add_profile(&Profiles::read(&variables));
        }
        settings
    }

    fn from(scheme: Scheme, variables: &[(String, String)]) -> Self {
        let prefix = match scheme {
            Scheme::Gcs => "GOOGLE_",
            Scheme::S3 => "AWS_",
            Scheme::Azure => "AZURE_",
            Scheme::Http => return Self::default(),
        };
        let own = variables
            .iter()
            .filter(|(key, value)| key.starts_with(prefix) && !value.is_empty());
        let mut values: Vec<(String, String)> = own
            .map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
            .collect();
        let connection = values
            .iter()
            .find(|(key, _)| key == "azure_storage_connection_string");
        let connection = connection.map(|(_, text)| connection_settings(text));
        for (key, value) in connection.into_iter().flatten() {
            add(&mut values, key, value);
        }
        // The names that Azure's own command line uses.
        for (own, name) in [
            ("azure_storage_account", "azure_storage_account_name"),
            ("azure_storage_key", "azure_storage_account_key"),
        ] {
            if let Some(value) = get(&values, own).map(str::to_owned) {
                add(&mut values, name, value);
            }
        }
        Self {
            values,
            left_out: None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        get(&self.values, key)
    }

    /// Returns true for a setting that is switched on.
    pub(crate) fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(is_true)
    }

    /// Returns true if the address of a server without encryption is stated.
    pub(crate) fn has_http_endpoint(&self) -> bool {
        let mut values = self.values.iter();
        values.any(|(key, value)| key.contains("endpoint") && value.starts_with("http://"))
    }

    pub(crate) fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.get(key).is_some())
    }

    /// Adds what a profile states and no variable does.
    fn add_profile(&mut self, profiles: &Profiles) {
        const KEYS: [(&str, &str); 5] = [
            ("aws_access_key_id", "aws_access_key_id"),
            ("aws_secret_access_key", "aws_secret_access_key"),
            ("aws_session_token", "aws_session_token"),
            ("region", "aws_region"),
            ("endpoint_url", "aws_endpoint_url"),
        ];
        const OTHER: [&str; 5] = [
            "sso_session",
            "sso_start_url",
            "role_arn",
            "credential_process",
            "web_identity_token_file",
        ];
        let has_keys = self.has_any(&["aws_access_key_id", "aws_secret_access_key"]);
        for (key, name) in KEYS {
            let is_credential = key.starts_with("aws_");
            if let Some(value) = profiles.get(key).filter(|_| !(is_credential && has_keys)) {
                let has_region = name == "aws_region" && self.get("aws_default_region").is_some();
                if !has_region {
                    add(&mut self.values, name, value);
                }
            }
        }
        if !self.has_any(&["aws_access_key_id"])
            && let Some(other) = OTHER.iter().find(|key| profiles.get(key).is_some())
        {
            let name = &profiles.name;
            self.left_out = Some(format!(
                "profile {name} has {other}, which is not read (aws configure export-credentials --profile {name} \
                 --format env prints variables that are)"
            ));
        }
    }
}

fn is_true(value: &str) -> bool {
    matches!(
        &value.to_ascii_lowercase()[..],
        "1" | "true" | "on" | "yes" | "y"
    )
}

fn get<'a>(values: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let (_, value) = values.iter().find(|(known, _)| known == key)?;
    Some(value)
}

/// Adds a setting, unless there is one with its name.
fn add(values: &mut Vec<(String, String)>, key: &str, value: String) {
    if get(values, key).is_none() {
        values.push((key.to_owned(), value));
    }
}

/// Returns the settings in an Azure connection string.
fn connection_settings(text: &str) -> Vec<(&'static str, String)> {
    const KEYS: [(&str, &str); 4] = [
        ("AccountName", "azure_storage_account_name"),
        ("AccountKey", "azure_storage_account_key"),
        ("SharedAccessSignature", "azure_storage_sas_key"),
        ("BlobEndpoint", "azure_storage_endpoint"),
    ];
    let parts = text.split(';').filter_map(|part| part.split_once('='));
    parts
        .filter_map(|(key, value)| {
            let (_, name) = KEYS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(key.trim()))?;
            Some((*name, value.trim().trim_end_matches('/').to_owned()))
        })
        .collect()
}

/// The files of profiles that the tools of AWS read.
struct Profiles {
    name: String,
    credentials: Option<Ini>,
    config: Option<Ini>,
}

impl Profiles {
    fn read(variables: &[(String, String)]) -> Self {
        let variable = |name: &str| get(variables, name).filter(|value| !value.is_empty());
        let home = variable("HOME")
            .or_else(|| variable("USERPROFILE"))
            .map(PathBuf::from);
        let file = |name: &str, default: &str| {
            let given = variable(name).map(PathBuf::from);
            let path = given.or_else(|| Some(home.as_ref()?.join(".aws").join(default)))?;
            let is_short =
                fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MAX_LEN);
            let text = is_short.then(|| fs::read_to_string(&path).ok()).flatten()?;
            Ini::load_from_str_noescape(&text).ok()
        };
        let name = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
        Self {
            name: name.unwrap_or("default").to_owned(),
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: file("AWS_CONFIG_FILE", "config"),
        }
    }

    fn get(&self, key: &str) -> Option<String> {
        let own = self
            .credentials
            .as_ref()
            .and_then(|ini| ini.get_from(Some(&self.name[..]), key));
        let section = match &self.name[..] {
            "default" => "default".to_owned(),
            name => format!("profile {name}"),
        };
        let general = || self.config.as_ref()?.get_from(Some(section), key);
        Some(own.or_else(general)?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn only_the_variables_of_the_store_are_taken() {
        let variables = pairs(&[
            ("TOKEN", "x"),
            ("REGION", "mars"),
            ("AWS_REGION", "r"),
            ("GOOGLE_BASE_URL", "u"),
        ]);
        assert_eq!(
            Settings::from(Scheme::S3, &variables).values,
            pairs(&[("aws_region", "r")])
        );
        assert_eq!(
            Settings::from(Scheme::Gcs, &variables).values,
            pairs(&[("google_base_url", "u")])
        );
        assert!(Settings::from(Scheme::Http, &variables).values.is_empty());
    }

    #[test]
    fn azure_connection_strings_are_read() {
        let text =
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=k==;BlobEndpoint=http://h/a/";
        let settings = Settings::from(
            Scheme::Azure,
            &pairs(&[("AZURE_STORAGE_CONNECTION_STRING", text)]),
        );
        assert_eq!(settings.get("azure_storage_account_name"), Some("a"));
        assert_eq!(settings.get("azure_storage_account_key"), Some("k=="));
        assert_eq!(settings.get("azure_storage_endpoint"), Some("http://h/a"));
    }

    #[test]
    fn names_of_azures_command_line_are_read() {
        let variables = pairs(&[("AZURE_STORAGE_ACCOUNT", "a"), ("AZURE_STORAGE_KEY", "k==")]);
        let settings = Settings::from(Scheme::Azure, &variables);
        assert_eq!(settings.get("azure_storage_account_name"), Some("a"));
        assert_eq!(settings.get("azure_storage_account_key"), Some("k=="));
    }

    #[test]
    fn profiles_fill_what_variables_leave_open() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let credentials = file(
            "credentials",
            "[default]\naws_access_key_id = d\n[lab]\naws_access_key_id = k\naws_secret_access_key = s+/=\n",
        );
        let config = file(
            "config",
            "[profile lab]\nregion = eu-1\nendpoint_url = http://h\ns3 =\n  max_concurrent_requests = 9\n\
             [profile sso]\nsso_session = x\n",
        );
        let of = |more: &[(&str, &str)]| {
            let mut variables = pairs(&[
                ("AWS_SHARED_CREDENTIALS_FILE", &credentials),
                ("AWS_CONFIG_FILE", &config),
            ]);
            variables.extend(pairs(more));
            let mut settings = Settings::from(Scheme::S3, &variables);
            settings.add_profile(&Profiles::read(&variables));
            settings
        };
        let lab = of(&[("AWS_PROFILE", "lab")]);
        assert_eq!(lab.get("aws_access_key_id"), Some("k"));
        assert_eq!(lab.get("aws_secret_access_key"), Some("s+/="));
        assert_eq!(lab.get("aws_region"), Some("eu-1"));
        assert_eq!(lab.get("aws_endpoint_url"), Some("http://h"));
        assert_eq!(of(&[]).get("aws_access_key_id"), Some("d"));
        let own = of(&[
            ("AWS_PROFILE", "lab"),
            ("AWS_ACCESS_KEY_ID", "v"),
            ("AWS_REGION", "r"),
        ]);
        assert_eq!(own.get("aws_access_key_id"), Some("v"));
        assert_eq!(own.get("aws_secret_access_key"), None);
        assert_eq!(own.get("aws_region"), Some("r"));
        let sso = of(&[("AWS_PROFILE", "sso")]);
        assert!(sso.left_out.unwrap().contains("sso_session"));
    }
}
