//! `huracan export`: from the store's own files to one that other programs run.

use super::train::open;
use crate::cli::export::{ExportRequest, ExportView, Form};
use crate::failure::{Exit, Failure};
use huracan_core::heads::trees::Ensemble;
use huracan_core::words::Symbol;
use huracan_store::formats::champion::Champion;
use huracan_store::formats::encoder::EncoderFile;
use huracan_store::formats::head::HeadFile;
use huracan_store::formats::onnx::proto::{ModelProto, ValueInfoProto};
use huracan_store::formats::onnx::{self, Encoding, Scorer};
use huracan_store::formats::to_bytes;
use huracan_store::models::{self, Model};
use huracan_store::{LocalStore, StoreError, StorePath, champions, encoder, sha256_hex};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a figure is, and its value.
type Facts = Vec<(String, String)>;

/// Writes a champion, or the encoder in force, to a file.
///
/// # Errors
/// [`Exit::Usage`] for a coin without a champion, a form that does not fit or a file that cannot be
/// written, [`Exit::Store`] when the store cannot be read or lacks the encoder.
pub fn export(request: &ExportRequest) -> Result<ExportView, Failure> {
    let store = open(&request.store)?;
    let (subject, bytes, facts) = match &request.names {
        None => encoder_alone(&store, request.format)?,
        Some(names) => champion(&store, names, request.format)?,
    };
    let named = || PathBuf::from(format!("{subject}.{}", request.format.ending()));
    let path = request.out.clone().unwrap_or_else(named);
    write(&path, &bytes)?;
    Ok(ExportView {
        subject,
        format: request.format,
        path: path.display().to_string(),
        size_bytes: bytes.len() as u64,
        sha256: sha256_hex(&bytes),
        facts,
    })
}

fn encoder_alone(store: &LocalStore, format: Form) -> Result<(String, Vec<u8>, Facts), Failure> {
    if format == Form::Lightgbm {
        return Err(does_not_fit("lightgbm holds trees, an encoder is none"));
    }
    let Some(file) = encoder::in_force(store)? else {
        let message = format!("{}: no encoder is in force there", store.root().display());
        return Err(Failure::new(Exit::Store, "no_encoder", message).help(
            "no head of this store uses codes; huracan train publishes an encoder with the first that does",
        ));
    };
    let encoding = Encoding::of(&file)?;
    let mut facts = encoder_facts(&file);
    let bytes = match format {
        Form::Json => to_bytes(&encoding)?,
        _ => graph(&encoding.to_onnx(), &mut facts),
    };
    Ok(("encoder".to_owned(), bytes, facts))
}

fn champion(store: &LocalStore, names: &[Symbol], format: Form) -> Result<(String, Vec<u8>, Facts), Failure> {
    let champion = find(store, names)?;
    let model = models::read_model(store, &StorePath::new(champion.model_path.clone())?)?;
    let head = &model.artifacts.head;
    let encoder = head.encoder_id.as_deref().map(|id| encoder::load(store, id)).transpose()?;
    let about = about(&champion, &model);
    let mut facts: Facts = ["model_path", "date", "kind", "label", "trade_ok"]
        .iter()
        .filter_map(|key| Some(((*key).replace('_', " "), about.get(*key)?.clone())))
        .collect();
    facts.extend(encoder.iter().flat_map(encoder_facts));
    let bytes = match format {
        Form::Lightgbm => lightgbm(head)?.into_bytes(),
        Form::Json | Form::Onnx => {
            let scorer = Scorer::of(head, &model.artifacts.features, encoder.as_ref(), about)?;
            if format == Form::Json { to_bytes(&scorer)? } else { graph(&scorer.to_onnx(), &mut facts) }
        }
    };
    Ok((champion.symbol.to_string(), bytes, facts))
}

/// The ensemble over the head's columns (codes, then the coin's own as `features.json` scales them).
fn lightgbm(head: &HeadFile) -> Result<String, Failure> {
    let subject = format!("the head of {}", head.symbol);
    if head.kind != onnx::TREES {
        return Err(does_not_fit(&format!("lightgbm holds trees, {subject} is {}", head.kind)));
    }
    if head.arrays.contains_key("weights") {
        return Err(does_not_fit(&format!("lightgbm holds trees alone, {subject} has weights too")));
    }
    let trees = Ensemble::from_arrays(|name| head.arrays.get(name).map(Vec::as_slice))
        .map_err(|error| StoreError::Corrupt { path: subject.clone(), reason: error.to_string() })?;
    let names: Vec<&str> = head.columns.iter().map(String::as_str).collect();
    trees.to_lightgbm_text(&names).ok_or_else(|| {
        let (found, expected) = (trees.features(), names.len());
        let reason =
            format!("its trees read {found} columns without blanks in their names, it has {expected}");
        StoreError::Corrupt { path: subject, reason }.into()
    })
}

fn does_not_fit(message: &str) -> Failure {
    Failure::new(Exit::Usage, "format_does_not_fit", message).help("use --format onnx or --format json")
}

/// The champion of the first name that has one.
fn find(store: &LocalStore, names: &[Symbol]) -> Result<Champion, Failure> {
    for name in names {
        if let Some((champion, _)) = champions::read(store, name)? {
            return Ok(champion);
        }
    }
    let wanted = names.first().map_or_else(String::new, Symbol::to_string);
    let message = format!("{wanted} has no champion in {}", store.root().display());
    Err(Failure::new(Exit::Usage, "no_champion", message)
        .help("huracan roster lists every coin that has one, huracan why SYMBOL says why one has none"))
}

/// Where the head is from, for the file's own metadata.
fn about(champion: &Champion, model: &Model) -> BTreeMap<String, String> {
    let (head, lineage) = (&model.artifacts.head, &model.manifest.lineage);
    let label = &head.label;
    let label = format!("{} {} bars after {}", label.kind, label.horizon_bars, label.entry_lag_bars);
    let texts = [
        ("symbol", champion.symbol.to_string()),
        ("date", champion.date.clone()),
        ("model_path", champion.model_path.clone()),
        ("model_sha256", champion.model_sha256.clone()),
        ("trade_ok", champion.trade_ok.to_string()),
        ("expires_at", champion.expires_at.to_string()),
        ("kind", head.kind.clone()),
        ("bar", head.bar.clone()),
        ("label", label),
        ("features_id", head.features_id.clone()),
        ("run_id", lineage.run_id.clone()),
        ("code_version", lineage.code_version.clone()),
    ];
    let own = texts.into_iter().map(|(key, text)| (key.to_owned(), text));
    head.metadata.clone().into_iter().chain(own).collect()
}

fn encoder_facts(file: &EncoderFile) -> Facts {
    let meaning = &file.card.meaning;
    let what = format!(
        "{} ({}, {} features to {} codes)",
        file.card.encoder_id,
        meaning.encoder_type,
        meaning.feature_names.len(),
        meaning.n_components
    );
    vec![("encoder".to_owned(), what)]
}

/// The bytes of a graph; what goes in and comes out are facts.
fn graph(model: &ModelProto, facts: &mut Facts) -> Vec<u8> {
    let list = |values: &[ValueInfoProto]| values.iter().map(shape).collect::<Vec<String>>().join(", ");
    if let Some(graph) = &model.graph {
        facts.push(("inputs".to_owned(), list(&graph.input)));
        facts.push(("outputs".to_owned(), list(&graph.output)));
        facts.push(("nodes".to_owned(), graph.node.len().to_string()));
    }
    model.to_bytes()
}

/// `score [N, 1]`.
fn shape(value: &ValueInfoProto) -> String {
    let tensor = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let axes = tensor.and_then(|tensor| tensor.shape.as_ref()).into_iter().flat_map(|shape| &shape.dim);
    let axes = axes.map(|axis| match axis.dim_value {
        Some(length) => length.to_string(),
        None => axis.dim_param.clone().unwrap_or_default(),
    });
    format!("{} [{}]", value.name(), axes.collect::<Vec<String>>().join(", "))
}

/// Writes beside the file and renames, so that no reader finds half of it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path)).map_err(|error| {
        // Where nothing could be written there is nothing to remove.
        let _ = std::fs::remove_file(&beside);
        Failure::new(Exit::Usage, "export_file", format!("{} cannot be written: {error}", path.display()))
            .help("--out FILE wants a file in a folder that is there and may be written")
    })
}
