//! Writes a model's folder as ONNX that plain onnxruntime runs:  export_onnx MODEL_FOLDER TARGET_FOLDER

use std::path::PathBuf;

use cairn_gpu::ModelFolder;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, target] = arguments.as_slice() else {
        return Err("usage: export_onnx MODEL_FOLDER TARGET_FOLDER".into());
    };
    ModelFolder::open(model)?.export_onnx(target, None)?;
    Ok(())
}
