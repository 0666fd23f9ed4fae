//! Writes a component of a JPEG as the scaled decoder gives it, as PGM: `planes FILE [EIGHTHS
//! [COMPONENT]]`.

#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sides have 16 bits")]

use std::{
    env, fs,
    io::{self, Write},
};

use imaging::{
    Deadline,
    jpeg::{self, Damage, Scale},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("usage: planes FILE [EIGHTHS [COMPONENT]]")?;
    let eighths: usize = arguments.next().map_or(Ok(8), |eighths| eighths.parse())?;
    let component: usize = arguments.next().map_or(Ok(0), |component| component.parse())?;
    let is_asked = |scale: &Scale| scale.side() == eighths && !scale.is_of_triangle();
    let scale = Scale::ALL.into_iter().find(is_asked).ok_or("1, 2, 4 or 8 eighths")?;
    let file = fs::read(file)?;
    let planes =
        jpeg::decode(&file, |_, _, _| scale.into(), 64, Damage::Refused, &Deadline::none())?;
    let plane = planes.planes.get(component).ok_or("it has no such component")?;
    let (width, height) = (plane.width.ceil() as usize, plane.height.ceil() as usize);
    let mut output = io::stdout().lock();
    write!(output, "P5\n{width} {height}\n255\n")?;
    for row in plane.samples.chunks(plane.stride).take(height) {
        output.write_all(&row[..width])?;
    }
    Ok(())
}
